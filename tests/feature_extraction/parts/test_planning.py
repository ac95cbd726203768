"""Plans of more images than anybody lists at once."""

from __future__ import annotations

import tracemalloc
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_extraction import open_place
from feature_extraction.items import ImageItem
from feature_extraction.parts.planning import Plan, write_plan

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
