"""Features that several processes compute against those of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feature_extraction.items import ImageItem, file_item, read_item
from finetune.backbone.trunk import Trunk, features_of, open_trunk
from finetune.workers import extraction
from finetune.workers.extraction import SharedTrunk
from finetune.workers.team import Team
from models.errors import GraftError, InputError
from models.fingerprint import image_digest
from models.runtime import RuntimeConfig
from tests.finetune.workers.threads import on_threads
from tests.fixtures import encoded, photo

Features = tuple[np.ndarray, list[tuple[str, GraftError]]]


@pytest.fixture(scope="module")
def trunk(tiny_path: Path) -> Trunk:
    return open_trunk(tiny_path, config=RuntimeConfig("cpu", 1))


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "PART", 3)


def files(folder: Path, count: int) -> list[ImageItem]:
    for number in range(count):
        (folder / f"{number:02}.png").write_bytes(encoded(photo(seed=number)))
    return [file_item(str(path)) for path in sorted(folder.glob("*.png"))]


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize(("images", "size"), [(7, 2), (20, 3), (1, 3)])
def test_features_by_parts_are_those_of_one_process(
    trunk: Trunk, tmp_path: Path, images: int, size: int, views: int
) -> None:
    items = files(tmp_path, images)
    (tmp_path / "00.png").write_bytes(b"no image")  # the first and one in the middle
    (tmp_path / f"{images // 2:02}.png").unlink()
    expected, failed = features_of(trunk, items, views, seed=1, store=None)
    ends = on_threads(size, lambda team: taken(team, trunk, items, views))
    result = ends[0].result()
    assert result is not None
    # In other batches, where some images are left out: their last digits may differ.
    np.testing.assert_allclose(result[0], expected, rtol=1e-5)
    assert {name: str(error) for name, error in result[1]} == {name: str(error) for name, error in failed}
    assert len(failed) == min(images, 2)


def test_without_failures_they_are_the_same_to_the_bit(trunk: Trunk, tmp_path: Path) -> None:
    items = files(tmp_path, 23)
    expected, _ = features_of(trunk, items, 2, seed=1, store=None, batch_size=4)
    ends = on_threads(3, lambda team: taken(team, trunk, items, 2, 4))
    result = ends[0].result()
    assert result is not None
    np.testing.assert_array_equal(result[0], expected)


def taken(
    team: Team, trunk: Trunk, items: list[ImageItem], views: int, batch_size: int = 1, **digests: bytes
) -> Features:
    spread = SharedTrunk(team, trunk, digests, cached=False)
    return features_of(replace(trunk, spread=spread), items, views, seed=1, store=None, batch_size=batch_size)


def test_images_that_are_no_files_go_along(trunk: Trunk) -> None:
    def given(content: bytes) -> Callable[[], bytes]:
        return lambda: content

    items = [ImageItem(str(n), given(encoded(photo(seed=n)))) for n in range(5)]
    items.append(ImageItem("bad", given(b"no image")))
    expected, _ = features_of(trunk, items, 1, seed=1, store=None)
    result = on_threads(2, lambda team: taken(team, trunk, items, 1))[0].result()
    assert result is not None
    np.testing.assert_allclose(result[0], expected, rtol=1e-5)
    assert [name for name, _ in result[1]] == ["bad"]


@pytest.mark.parametrize("there", [b"", encoded(photo(seed=99)), None], ids=["empty", "another", "missing"])
def test_a_worker_that_reads_other_images_is_refused(
    trunk: Trunk, tmp_path: Path, there: bytes | None
) -> None:
    items = files(tmp_path, 6)
    digests = {item.id: image_digest(read_item(item)) for item in items}
    last = tmp_path / "05.png"  # which the second process computes
    if there is None:
        last.unlink()
    else:
        last.write_bytes(there)
    for end in on_threads(2, lambda team: taken(team, trunk, items, 1, **digests)):
        with pytest.raises(InputError, match=r"^worker 1 on .*05\.png.* Give all machines the same images"):
            end.result()


def test_ctrl_c_at_a_worker_ends_extraction_for_all(
    trunk: Trunk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = extraction._Extract.do

    def pressed(self: extraction._Extract, worker: extraction.Worker) -> object:
        worker.interrupted = True
        return real(self, worker)

    monkeypatch.setattr(extraction._Extract, "do", pressed)
    items = files(tmp_path, 9)
    for end in on_threads(2, lambda team: taken(team, trunk, items, 1)):
        with pytest.raises(KeyboardInterrupt):
            end.result()
