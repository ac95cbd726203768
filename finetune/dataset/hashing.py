"""Perceptual hashes: 64 bits that stay nearly the same when an image is saved again, resized or cropped a little."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from models.preprocessing import LUMA
from models.runtime import Array

GRID = 32  # pixels a side of what is hashed
LOW = 8  # frequencies that count, in each direction


@dataclass(frozen=True)
class Hashes:
    """Hashes of an image and of its mirror image (left and right exchanged), each 64 bits."""

    dct: int
    dct_mirrored: int
    gradient: int
    gradient_mirrored: int


def hashes(pixels: NDArray[np.uint8]) -> Hashes:
    """Both perceptual hashes of an image, uint8 (32, 32, 3), that was squashed to this size.

    `dct` is pHash: the signs of the 64 lowest frequencies against their median (Zauner 2010, "Implementation and
    benchmarking of perceptual image hash functions"). `gradient` is dHash: whether it gets brighter from left to
    right (N. Krawetz 2013, "Kind of like that").
    """
    grey = grey_values(pixels)  # (32, 32)
    basis = _basis()
    low = basis @ grey @ basis.T  # (8, 8): rows are vertical frequencies
    mirrored = low * (1 - 2 * (np.arange(LOW) % 2))  # a mirror turns the sign of odd horizontal frequencies
    means = _cells(grey)
    return Hashes(_above_median(low), _above_median(mirrored), _brighter(means), _brighter(means[:, ::-1]))


def grey_values(pixels: NDArray[np.uint8]) -> Array:
    """The brightness of pixels, uint8 (..., 3), as float32 (...), 0 to 255."""
    grey: Array = pixels.astype(np.float32) @ np.array(LUMA, np.float32)
    return grey


def _cells(grey: Array) -> Array:
    """Means on a grid of 8 x 9 cells, which share pixels where 32 is no multiple of 9."""
    rows = grey.reshape(LOW, GRID // LOW, GRID).mean(axis=1)  # (8, 32)
    means: Array = rows @ _ninths()
    return means


def _brighter(means: Array) -> int:
    return _bits(means[:, 1:] > means[:, :-1])


def _above_median(low: Array) -> int:
    flat = low.ravel()
    return _bits(flat > np.median(flat[1:]))  # the first is the mean brightness, far above all others


def _bits(array: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(array.ravel()).tobytes(), "big")


@cache
def _basis() -> Array:
    """The first 8 rows of the discrete cosine transform of 32 values, (8, 32)."""
    k, n = np.arange(LOW)[:, None], np.arange(GRID)[None]
    rows = np.cos(np.pi * k * (2 * n + 1) / (2 * GRID)) * np.sqrt(2 / GRID)
    basis: Array = rows.astype(np.float32)
    return basis


@cache
def _ninths() -> Array:
    """How much of each of 32 columns lies in each of 9 cells, (32, 9)."""
    edges = np.linspace(0, GRID, 10)
    column = np.arange(GRID)[:, None]
    shared = np.minimum(column + 1, edges[None, 1:]) - np.maximum(column, edges[None, :-1])
    weights: Array = (np.clip(shared, 0, 1) * 9 / GRID).astype(np.float32)
    return weights
