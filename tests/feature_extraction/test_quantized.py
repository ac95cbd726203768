"""The sample of images that a network is calibrated with."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

from feature_extraction.items import ImageItem
from feature_extraction.quantized import sample


def items(count: int) -> list[ImageItem]:
    return [ImageItem(str(i), lambda: b"") for i in range(count)]


def test_sample_is_the_same_every_time_and_of_all_parts() -> None:
    names = [item.id for item in sample(items(1000), 100)]
    assert names == [item.id for item in sample(iter(items(1000)), 100)]
    assert len(set(names)) == 100
    assert 350 < sum(map(int, names)) / 100 < 650
    assert sorted(item.id for item in sample(items(3), 100)) == ["0", "1", "2"]


def test_no_more_images_are_held_than_are_chosen() -> None:
    alive: list[weakref.ref[ImageItem]] = []

    def stream() -> Iterator[ImageItem]:
        for i in range(100):
            item = ImageItem(str(i), lambda: b"")
            alive.append(weakref.ref(item))
            yield item
            del item
            assert sum(one() is not None for one in alive) <= 5 + 1

    assert len(sample(stream(), 5)) == 5
