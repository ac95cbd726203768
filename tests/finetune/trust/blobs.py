"""Embeddings of a few classes, for what tells known images from others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from finetune.trust.novelty import Kind, Space, scaling

Floats = NDArray[np.float32]
Data = tuple[Floats, NDArray[np.int64]]


def arrays_of(space: Space, kind: Kind, held: Floats) -> dict[str, Floats]:
    """What a score needs, weighed by some known embeddings."""
    return space.arrays(kind, scaling(space.parts(held)))


def blobs(n: int, classes: int = 4, width: int = 24, seed: int = 0, noise: float = 0.25) -> Data:
    """Points around `classes` directions of space, some of each."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1, (classes, width))
    y = np.arange(n) % classes
    return (centres[y] + rng.normal(0, noise, (n, width))).astype(np.float32), y


def logits_of(x: Floats) -> Floats:
    return (3 * x[:, :4]).astype(np.float32)
