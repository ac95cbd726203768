"""Plans: of more images than anybody lists at once, of the same ones everywhere, and of none that do not fit."""

from __future__ import annotations

import tracemalloc
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_extraction import open_place
from feature_extraction.items import ImageItem
from feature_extraction.manifest import names_digest
from feature_extraction.output import OutputFolder
from feature_extraction.parts.planning import Plan, write_plan
from feature_extraction.sources import images
from models.errors import InputError, OutputError, SourceError
from models.features import FeatureModel
from tests.feature_extraction.parts.shares import PART, planned, whole

SETTINGS = {"format": "npz", "part_items": 4}


def listing(count: int) -> Iterator[ImageItem]:
    return (ImageItem(f"photos/{number:09}.jpg", bytes) for number in range(count))


def peak(path: Path, images: int) -> int:
    """Bytes in use at most while so many images are planned, and the plan is read again."""
    tracemalloc.start()
    try:
        plan = write_plan(open_place(path), "photos", listing(images), SETTINGS)
        deque(plan.planned(), maxlen=0)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_images(tmp_path: Path) -> None:
    peak(tmp_path / "first", 10)  # what is imported and cached once
    few, many = peak(tmp_path / "few", 400), peak(tmp_path / "many", 40_000)
    assert many < few + 500_000  # its plan has 1.4 MB


def test_parts_are_read_from_any_number_on(tmp_path: Path) -> None:
    plan = write_plan(open_place(tmp_path), "photos", listing(4 * 50 + 1), SETTINGS)
    assert [part.part for part in plan.planned(48)] == [48, 49, 50]
    assert [part.part for part in plan.planned(10, 12)] == [10, 11]
    assert list(plan.planned(51)) == []
    (last,) = plan.planned(50)
    assert (last.items, last.first, plan.items) == (1, "photos/000000200.jpg", 201)


@pytest.mark.parametrize("images", [1, 3, 4, 5, 8])
def test_parts_cover_each_image_once(tmp_path: Path, images: int) -> None:
    plan = write_plan(open_place(tmp_path), "photos", listing(images), SETTINGS)
    assert sum(part.items for part in plan.planned()) == images == plan.items
    assert Plan.open(plan.place) == plan


def test_share_that_there_is_not_is_refused(features: FeatureModel, sources: Path, tmp_path: Path) -> None:
    plan = planned(tmp_path, str(sources / "photos"), features)
    for number, count in ((0, 8), (9, 8), (-1, 8), (1, 0)):
        with pytest.raises(
            InputError, match=f"part {number} of {count}; expected a number from 1 to {count}"
        ):
            plan.share(number, count)


@pytest.mark.parametrize("count", [1, 3, 6, 8, 100])
def test_shares_are_all_parts_and_none_twice(
    features: FeatureModel, sources: Path, tmp_path: Path, count: int
) -> None:
    plan = planned(tmp_path, str(sources / "photos"), features)
    numbers = [part for number in range(count) for part in plan.share(number + 1, count)]
    assert numbers == list(range(plan.parts))


def test_other_settings_and_sources_are_refused_in_a_planned_place(
    features: FeatureModel, sources: Path, tmp_path: Path
) -> None:
    plan = planned(tmp_path, str(sources / "photos"), features)
    with pytest.raises(OutputError, match=r"other settings than now \(format was npy, now npz\)"):
        planned(tmp_path, str(sources / "photos"), features, "npz")
    with pytest.raises(OutputError, match=r"the plan that stands here is for .*photos, not for"):
        planned(tmp_path, str(sources / "photos.zip"), features)
    with (
        pytest.raises(OutputError, match="features are made in parts here"),
        OutputFolder(tmp_path, features.blank, plan.settings, resume=True),
    ):
        pass


def test_finished_features_are_not_planned_again(
    features: FeatureModel, sources: Path, tmp_path: Path
) -> None:
    whole(tmp_path, str(sources / "photos"), features)
    with pytest.raises(
        OutputError, match="holds features already, which were not made in parts or are merged"
    ):
        planned(tmp_path, str(sources / "photos"), features)


def test_damaged_plan_is_refused(features: FeatureModel, sources: Path, tmp_path: Path) -> None:
    plan = planned(tmp_path, str(sources / "photos"), features)
    file = tmp_path / ".parts" / "plan.jsonl"
    for damage in (b"", b"[]\n", b"{", b'{"graft": "plan", "format": 9}\n{}\n'):
        file.write_bytes(damage)
        with pytest.raises(OutputError, match=r"its plan, \.parts/plan\.jsonl, is damaged"):
            Plan.open(plan.place)


def test_plan_is_of_the_source_alone_and_can_be_made_anywhere(
    features: FeatureModel, sources: Path, tmp_path: Path
) -> None:
    one, two = (planned(tmp_path / name, str(sources / "photos"), features) for name in ("one", "two"))
    assert one.digest == two.digest
    names = [item.id for item in images(str(sources / "photos"))]
    parts = list(one.planned())
    assert [part.first for part in parts] == names[::PART]
    assert parts[1].names == names_digest(names[PART : 2 * PART])
    assert (one.items, one.parts) == (len(names), len(parts))


def test_source_that_gives_nothing_leaves_no_plan(features: FeatureModel, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no images in it"):
        planned(tmp_path / "out", str(tmp_path / "empty"), features)
    assert Plan.open(open_place(tmp_path / "out")) is None


def test_place_that_cannot_be_written_says_why(features: FeatureModel, sources: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        planned(tmp_path / "file", str(sources / "photos"), features)
