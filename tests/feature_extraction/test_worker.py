"""The worker: items in, vectors out, one bad image harming no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feature_extraction.items import ImageItem
from models.errors import ImageError, ModelError, NumericsError
from tests.feature_extraction.running import item, shades, worker
from tests.fixtures import plain


def test_vectors_stand_beside_their_ids(tiny_path: Path) -> None:
    found = worker(tiny_path)([item("r", plain("red")), item("bad", b"no image"), item("b", plain("blue"))])
    assert found.ids == ["r", "b"]
    assert list(found.arrays) == ["pool"]
    assert np.allclose(found.arrays["pool"], [[1, 0, 0], [0, 0, 1]])
    ((name, error),) = found.failures
    assert (name, type(error)) == ("bad", ImageError)
    assert found.names == ["r", "bad", "b"]


def test_decoded_images_are_taken_too(tiny_path: Path) -> None:
    red = np.zeros((20, 30, 3), np.uint8)
    red[..., 0] = 255
    things = [ImageItem("array", lambda: red), ImageItem("image", lambda: Image.fromarray(red))]
    assert np.allclose(worker(tiny_path)(things).arrays["pool"], [[1, 0, 0]] * 2)


def test_whatever_a_source_raises_is_a_failure_of_that_image(tiny_path: Path) -> None:
    def broken() -> bytes:
        raise RuntimeError("the bucket is gone")

    found = worker(tiny_path)([ImageItem("x", broken), *shades(1)])
    assert "x: cannot be read (the bucket is gone)" in str(found.failures[0][1])
    assert found.ids == ["0"]


def test_nothing_readable_gives_no_arrays(tiny_path: Path) -> None:
    found = worker(tiny_path)([item("bad", b"")])
    assert (found.ids, found.arrays) == ([], {})


def test_row_that_is_not_finite_is_a_failure(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = worker(tiny_path)
    rows = np.array([[1, 2, 3], [np.inf, 0, 0]], np.float32)
    monkeypatch.setattr(one.features.model, "run", lambda batch, outputs, **_: [rows])
    found = one(shades(2))
    assert found.ids == ["0"]
    assert isinstance(found.failures[0][1], NumericsError)


def test_network_that_fails_ends_the_run(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = worker(tiny_path)

    def fail(*_: object, **__: object) -> None:
        raise ModelError("out of memory")

    monkeypatch.setattr(one.features.model, "run", fail)
    with pytest.raises(ModelError, match="out of memory"):
        one(shades(2))
