"""What is computed while heads learn is what would be computed afterwards."""

from __future__ import annotations

import importlib
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from finetune.job import ahead
from finetune.job.recipe import Recipe
from finetune.training.settings import Settings
from finetune.trust import rejection
from tests.finetune.job.running import QUICK, run

pytestmark = pytest.mark.usefixtures("brief")
HIDDEN = Settings(epochs=2, learning_rate=0.05, hidden=(4,))


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """By whom spaces were fitted, one after the other."""
    fitted: list[str] = []

    def noted(name: str) -> Any:
        def fit(*args: Any, **options: Any) -> rejection.Spaces:
            fitted.append(name)
            return fit_spaces(*args, **options)

        return fit

    fit_spaces = rejection.fit_spaces
    monkeypatch.setattr(ahead, "fit_spaces", noted("ahead"))
    monkeypatch.setattr(rejection, "fit_spaces", noted("afterwards"))
    return fitted


def test_what_is_imported_early_is_not_imported_where_ctrl_c_is_heard(
    photos: Path, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that Ctrl-C breaks off may keep the lock of all, for which the thread that opens the network waits."""
    importing: list[threading.Thread] = []
    monkeypatch.setattr(
        "finetune.job.run.import_for_later", lambda _: importing.append(threading.current_thread())
    )
    run(photos, tmp_path / "out", tiny_path)
    (thread,) = importing
    assert thread is not threading.main_thread()


def test_what_is_not_installed_is_not_missed_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)
    with pytest.raises(ImportError, match="tensorboardX"):
        importlib.import_module("tensorboardX.event_file_writer")
    ahead.import_for_later(Recipe())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["ahead"]),
        ({"views": 2}, ["ahead"]),
        ({"measure": "split"}, ["ahead"]),
        ({"method": "sklearn", "classifier": "logistic"}, ["ahead"]),
        ({"training": HIDDEN}, ["afterwards"]),
    ],
)
def test_spaces_are_fitted_once(
    options: dict[str, object],
    expected: list[str],
    photos: Path,
    tiny_path: Path,
    tmp_path: Path,
    fits: list[str],
) -> None:
    run(photos, tmp_path / "out", tiny_path, **options)
    assert fits == expected


@pytest.mark.parametrize("training", [QUICK, HIDDEN])
def test_the_file_has_the_same_bytes_without(
    training: Settings,
    photos: Path,
    tiny_path: Path,
    tmp_path: Path,
    fits: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a hidden layer spaces ahead are those of other embeddings, and fitted again."""
    files = []
    for taken in (True, False):
        monkeypatch.setattr(ahead, "_embeds_features", lambda *_, taken=taken: taken)
        outcome = run(photos, tmp_path / f"{taken}", tiny_path, training=training)
        files.append(outcome.model.read_bytes())
    assert fits == (["ahead", "afterwards"] if training is QUICK else ["ahead", "afterwards", "afterwards"])
    assert files[0] == files[1]
