"""Images that the caller holds: arrays, Pillow images, bytes, iterators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from feature_extraction.items import ImageItem
from feature_extraction.opening import open_images
from models.errors import SourceError
from tests.fixtures import photo, plain


def test_array_is_one_image_a_row() -> None:
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    items = list(open_images(pixels))
    assert [item.id for item in items] == ["0", "1"]
    assert np.array_equal(items[1].read(), pixels[1])
    assert len(list(open_images(pixels[0]))) == 1


def test_iterable_may_be_mixed_and_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    given = ImageItem("mine", lambda: b"x")
    things = [photo(), b"bytes", str(tmp_path / "a.png"), tmp_path / "a.png", ("named", b"y"), given]
    items = list(open_images(iter(things)))
    path = str(tmp_path / "a.png")
    assert [item.id for item in items] == ["0", "1", path, path, "named", "mine"]
    assert [items[i].read() for i in (1, 3, 4, 5)] == [b"bytes", b"a", b"y", b"x"]


def test_iterator_is_not_run_ahead() -> None:
    def endless() -> object:
        while True:
            yield plain("red")

    items = open_images(endless())  # type: ignore[arg-type]
    assert [next(items).id for _ in range(3)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (np.zeros((4, 5), np.uint8), r"an array of uint8 \(4, 5\); expected images"),
        (b"one", "a bytes is one thing"),
        (photo(), "is one thing; expected a path or several"),
        (3, "a int is one thing"),
        ([3], "item 0 is a int; expected a path, bytes"),
    ],
)
def test_other_things_are_explained(source: object, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        list(open_images(source))  # type: ignore[arg-type]
