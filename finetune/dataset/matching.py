"""Finds near copies: hashes and embeddings propose pairs, the pixels decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from finetune.dataset.hashing import GRID
from finetune.dataset.scanning import Facts
from models.runtime import Array

DCT_BITS, GRADIENT_BITS = 14, 12  # of 64 that may differ
COSINE = 0.9
LIKENESS = 0.95
_BLOCK = 2048
_PAIRS = 512
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Pairs = NDArray[np.int64]  # (P, 2), the smaller position first


def near_pairs(facts: Sequence[Facts], embeddings: Array | None = None) -> list[tuple[int, int]]:
    """Positions of pairs that show the same picture."""
    if len(facts) < 2:
        return []
    proposed = [candidates_by_hash(facts)]
    if embeddings is not None:
        proposed.append(candidates_by_cosine(embeddings))
    pairs = np.unique(np.concatenate(proposed), axis=0)
    pixels = np.stack([one.pixels for one in facts if one.pixels is not None])
    same = likeness(pixels, pairs) >= LIKENESS
    return [(int(a), int(b)) for a, b in pairs[same]]


def candidates_by_hash(facts: Sequence[Facts]) -> Pairs:
    """Pairs of which either hash is near, as they are or one of them mirrored."""
    known = [one.hashes for one in facts if one.hashes is not None]
    found = []
    for plain, mirrored, limit in (
        ("dct", "dct_mirrored", DCT_BITS),
        ("gradient", "gradient_mirrored", GRADIENT_BITS),
    ):
        straight = np.array([getattr(one, plain) for one in known], np.uint64)
        turned = np.array([getattr(one, mirrored) for one in known], np.uint64)
        found += [pairs for rows in (straight, turned) for pairs in _near(rows, straight, limit)]
    return np.concatenate([np.zeros((0, 2), np.int64), *found])


def _near(rows: NDArray[np.uint64], columns: NDArray[np.uint64], limit: int) -> Iterator[Pairs]:
    for top in range(0, len(rows), _BLOCK):
        for left in range(top, len(columns), _BLOCK):
            differing = np.bitwise_count(rows[top : top + _BLOCK, None] ^ columns[None, left : left + _BLOCK])
            i, j = np.nonzero(differing <= limit)
            pairs = np.stack([i + top, j + left], axis=1)
            yield pairs[pairs[:, 0] < pairs[:, 1]]


def candidates_by_cosine(embeddings: Array) -> Pairs:
    """Pairs of rows (N, D) whose cosine is at least COSINE."""
    rows = np.where(np.isfinite(embeddings).all(axis=1, keepdims=True), embeddings, 0).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    found = [np.zeros((0, 2), np.int64)]
    for top in range(0, len(rows), _BLOCK):
        for left in range(top, len(rows), _BLOCK):
            i, j = np.nonzero(rows[top : top + _BLOCK] @ rows[left : left + _BLOCK].T >= COSINE)
            pairs = np.stack([i + top, j + left], axis=1)
            found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    return np.concatenate(found)


def likeness(pixels: NDArray[np.uint8], pairs: Pairs) -> Array:
    """How alike pairs of images are at the best of several crops, (P,): 1 is the same, 0 is unrelated.

    `pixels`: uint8 (N, 32, 32, 3).
    """
    grey = pixels.astype(np.float32) @ _LUMA  # (N, 32, 32)
    found = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), _PAIRS):
        a, b = (grey[side] for side in pairs[start : start + _PAIRS].T)
        scores = [_best(one, other[:, :, ::turn]) for one, other in ((a, b), (b, a)) for turn in (1, -1)]
        found[start : start + _PAIRS] = np.max(scores, axis=0)
    return found


def _best(whole: Array, part: Array) -> Array:
    """The highest correlation of any crop of `whole` with `part`, each (P, 32, 32)."""
    crops = np.einsum("ayi,pij,bxj->pabyx", _crops(), whole, _crops(), optimize=True)
    crops = crops.reshape(len(whole), -1, GRID * GRID)
    other = part.reshape(len(part), GRID * GRID, 1)
    return (_standard(crops, 2) @ _standard(other, 1))[..., 0].max(axis=1)


def _standard(values: Array, axis: int) -> Array:
    centred = values - values.mean(axis=axis, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=axis, keepdims=True), 1e-6)


@cache
def _crops() -> Array:
    """Matrices (7, 32, 32) that stretch a part of 32 values to all 32: everything, and 95 and 90 % at either end."""
    rows = [_stretch(0, 1)]
    rows += [_stretch(place * (1 - kept), kept) for kept in (0.95, 0.9) for place in (0, 0.5, 1)]
    return np.stack(rows)


def _stretch(start: float, kept: float) -> Array:
    places = np.clip((start + kept * (np.arange(GRID) + 0.5) / GRID) * GRID - 0.5, 0, GRID - 1)
    left = np.minimum(places.astype(int), GRID - 2)
    matrix = np.zeros((GRID, GRID), np.float32)
    matrix[np.arange(GRID), left] = 1 - (places - left)
    matrix[np.arange(GRID), left + 1] += places - left
    return matrix
