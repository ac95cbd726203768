"""Features that anyone can make: a cloud of points for each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def blobs(
    counts: tuple[int, ...] = (12, 12, 12), width: int = 20, seed: int = 0, apart: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.int64], tuple[str, ...]]:
    """Features (N, width), classes (N,) and their names; `counts` points of each class."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    centres = apart * rng.normal(size=(len(counts), width))
    x = centres[y] + rng.normal(size=(len(y), width))
    return x.astype(np.float32), y, tuple(f"class {c}" for c in range(len(counts)))
