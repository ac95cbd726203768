"""Decoding ahead in threads: the order is kept, memory is bounded, a bad image harms only itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from feature_extraction.batches import decoded_batches
from feature_extraction.items import ImageItem
from models.preprocessing import Preprocessing
from tests.fixtures import plain

SMALL = Preprocessing((4, 4), "squash")


def item(name: str, data: bytes) -> ImageItem:
    return ImageItem(name, lambda: data)


def test_order_and_tags_are_kept() -> None:
    shades = [item(str(i), plain((i, i, i))) for i in range(23)]
    batches = list(decoded_batches(zip(shades, range(23), strict=True), SMALL, 5, threads=3))
    assert [len(batch.items) for batch in batches] == [5, 5, 5, 5, 3]
    assert [tag for batch in batches for _, tag in batch.items] == list(range(23))
    assert np.concatenate([batch.pixels for batch in batches])[:, 0, 0, 0].tolist() == list(range(23))


def test_bad_image_harms_only_itself() -> None:
    items = [item("a", plain("red")), item("b", b"no image"), item("c", plain("blue"))]
    (batch,) = decoded_batches(((i, None) for i in items), SMALL, 8)
    assert batch.pixels.shape == (2, 4, 4, 3)
    assert [i.id for i, _ in batch.good] == ["a", "c"]
    assert "b: not an image" in str(batch.failures[1])


def test_batch_without_one_good_image_has_no_rows() -> None:
    (batch,) = decoded_batches([(item("b", b""), None)], SMALL, 8)
    assert len(batch.pixels) == 0
    assert batch.good == []


def test_no_more_is_read_than_a_few_batches_ahead() -> None:
    asked = 0

    def endless() -> Iterator[tuple[ImageItem, None]]:
        nonlocal asked
        while True:
            asked += 1
            yield item("red", plain("red")), None

    batches = decoded_batches(endless(), SMALL, 2, threads=2)
    next(batches)
    assert asked == 2 * 3  # one batch for each thread, and one for the caller
    batches.close()  # type: ignore[attr-defined]
