"""A table of small pictures, one of them broken, and what features of it must be."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow
from PIL import Image

import graft

COUNT, BROKEN = 24, 7


def table() -> pyarrow.Table:
    """Columns `path` and `image`, encoded bytes."""
    random = np.random.default_rng(0)
    images = [_png(random.integers(0, 256, (72, 96, 3), np.uint8)) for _ in range(COUNT)]
    images[BROKEN] = images[BROKEN][:100]
    return pyarrow.table({"path": [f"{i:02}.png" for i in range(COUNT)], "image": images})


def check(rows: Iterable[Mapping[str, Any]]) -> None:
    """See that each row has the vector that `graft.extract` gives, and the broken one its reason."""
    good = [image for i, image in enumerate(table()["image"].to_pylist()) if i != BROKEN]
    expected = np.concatenate([vectors for _, vectors in graft.extract(good)])
    by_path = {row["path"]: row for row in rows}
    assert len(by_path) == COUNT
    broken = by_path.pop(f"{BROKEN:02}.png")
    assert broken["pool"] is None
    found = np.array([by_path[path]["pool"] for path in sorted(by_path)], np.float32)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    print(f"{len(found)} vectors of {found.shape[1]} numbers; {broken['error'].split(';')[0]}")


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
