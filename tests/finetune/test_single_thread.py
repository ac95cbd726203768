"""Linear algebra on one thread, and back on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from finetune.dataset.opening import open_dataset
from finetune.job import assessment
from finetune.job.recipe import Recipe
from finetune.job.run import finetune
from finetune.single_thread import one_blas_thread
from finetune.training.settings import Settings
from finetune.trust.rejection import Rejector, fit_rejector
from tests.finetune.shades import folder_of


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    """Whatever the machine has: with one core nothing would be limited."""
    with one_blas_thread(), threadpool_limits(2):
        yield


def test_one_thread_inside_and_the_old_number_behind() -> None:
    before = blas_threads()
    assert before == {2}
    with one_blas_thread():
        assert blas_threads() == {1}
    assert blas_threads() == before


def test_a_run_measures_on_one_thread(
    tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[int]] = []

    def looked(*args: object, **options: object) -> Rejector:
        seen.append(blas_threads())
        return fit_rejector(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(assessment, "fit_rejector", looked)
    photos = folder_of(tmp_path / "photos")
    recipe = Recipe(model=str(tiny_path), views=1, training=Settings(epochs=1, learning_rate=0.05))
    finetune(open_dataset(photos), recipe, tmp_path / "out", device="cpu", threads=1)
    assert seen == [{1}]
