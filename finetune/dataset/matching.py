"""Finds near copies: hashes and embeddings propose pairs, the pixels decide.

Which hashes, mirrored or not, and what limits: measured by benchmarks/duplicates.py, told in docs/dataset.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.dataset.hashing import GRID, grey_values
from finetune.dataset.scanning import Facts
from models.runtime import Array

# Chosen on clothing photos with altered copies planted among them; docs/dataset.md has the numbers. Hashes and cosines
# propose generously, because pixels decide.
DCT_BITS, GRADIENT_BITS = 12, 10  # of 64 that may differ
COSINE = 0.9
# Different shirts on one floor reach 0.972; copies cropped by 5 % stay above 0.98, nearly all.
LIKENESS = 0.975
SMALL = 64  # pixels: a letter or an icon below it, cropped or mirrored, may well be another letter, so it is compared
DIFFERENCE = 6.0  # as it is: root mean square in levels of 255
_UNALIGNED = 0.75  # likeness at 16 x 16 pixels before crops are tried
_COARSE = 0.94  # the same at the best crop
_TINT = 24.0  # levels of 255 by which the mean colour may differ
_BLOCK = 2048
_ROWS = 64  # of hashes at once: with as many as _BLOCK columns they fit into a core's cache
_PAIRS = 512
_MOST = 16  # pairs for each row of a block
_PORTION = 1 << 20  # pairs that are compared before more are sought

Pairs = NDArray[np.int64]  # (P, 2), the smaller position first
_NONE: Pairs = np.zeros((0, 2), np.int64)


def near_pairs(facts: Sequence[Facts], embeddings: Array | None = None) -> list[tuple[int, int]]:
    """Positions of pairs that show the same picture.

    Of very many images that are all alike, not every pair is among them, but some for each image.
    """
    if len(facts) < 2:
        return []
    pixels = np.stack([one.pixels for one in facts if one.pixels is not None])
    small = np.array([min(one.width, one.height) < SMALL for one in facts])
    proposed = [candidates_by_hash(facts)]
    if embeddings is not None:
        proposed.append(candidates_by_cosine(embeddings))
    same = [_same(pixels, small, pairs) for pairs in _portions(chain(*proposed), len(facts))]
    pairs = _unique([_NONE, *same], len(facts))  # two portions may hold the same
    return [(int(a), int(b)) for a, b in pairs]


def _portions(proposed: Iterable[Pairs], count: int) -> Iterator[Pairs]:
    """Pairs of `count` positions, once each in portions: all of them at a time need not fit into memory."""
    waiting, held = [_NONE], 0
    for pairs in proposed:
        waiting.append(pairs)
        held += len(pairs)
        if held >= _PORTION:
            yield _unique(waiting, count)
            waiting, held = [_NONE], 0
    yield _unique(waiting, count)


def _unique(pairs: Sequence[Pairs], count: int) -> Pairs:
    """Pairs of `count` positions, ascending and once each."""
    numbers = np.unique(np.concatenate([some[:, 0] * count + some[:, 1] for some in pairs]))
    return np.stack(np.divmod(numbers, count), axis=1)


def _same(pixels: NDArray[np.uint8], small: NDArray[np.bool_], pairs: Pairs) -> Pairs:
    """The pairs that show the same picture, by their pixels."""
    coarse = small[pairs].any(axis=1)
    same = np.zeros(len(pairs), bool)
    same[coarse] = difference(pixels, pairs[coarse]) <= DIFFERENCE
    same[~coarse] = likeness(pixels, pairs[~coarse]) >= LIKENESS
    return pairs[same]


def candidates_by_hash(facts: Sequence[Facts]) -> Iterator[Pairs]:
    """Pairs of which either hash is near, as they are or one of them mirrored."""
    known = [one.hashes for one in facts if one.hashes is not None]
    for plain, mirrored, limit in (
        ("dct", "dct_mirrored", DCT_BITS),
        ("gradient", "gradient_mirrored", GRADIENT_BITS),
    ):
        straight = np.array([getattr(one, plain) for one in known], np.uint64)
        turned = np.array([getattr(one, mirrored) for one in known], np.uint64)
        for rows in (straight, turned):
            yield from _near(rows, straight, limit)


def _near(rows: NDArray[np.uint64], columns: NDArray[np.uint64], limit: int) -> Iterator[Pairs]:
    for top in range(0, len(rows), _ROWS):
        for left in range(top, len(columns), _BLOCK):
            differing = np.bitwise_count(rows[top : top + _ROWS, None] ^ columns[None, left : left + _BLOCK])
            if differing.min() <= limit:  # most blocks hold no pair
                yield _chosen(differing, differing <= limit, top, left)


def candidates_by_cosine(embeddings: Array) -> Iterator[Pairs]:
    """Pairs of rows (N, D) whose cosine is at least COSINE."""
    rows = np.where(np.isfinite(embeddings).all(axis=1, keepdims=True), embeddings, 0).astype(np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    for top in range(0, len(rows), _BLOCK):
        for left in range(top, len(rows), _BLOCK):
            cosines = rows[top : top + _BLOCK] @ rows[left : left + _BLOCK].T
            yield _chosen(-cosines, cosines >= COSINE, top, left)


def _chosen(distances: NDArray[Any], near: NDArray[np.bool_], top: int, left: int) -> Pairs:
    """The pairs of a block at (`top`, `left`) that are near; of more than a few for each row the nearest.

    Features in the middle of a network, or pictures of hardly anything, are all near one another: N^2 pairs.
    """
    near &= np.arange(top, top + len(near))[:, None] < np.arange(left, left + near.shape[1])
    i, j = np.nonzero(near)
    if len(i) > _MOST * len(near):
        far = np.where(near, distances.astype(np.float32), np.inf)
        nearest = np.argpartition(far, _MOST - 1, axis=1)[:, :_MOST]
        i, place = np.nonzero(np.take_along_axis(near, nearest, axis=1))
        j = nearest[i, place]
    return np.stack([i + top, j + left], axis=1)


def likeness(pixels: NDArray[np.uint8], pairs: Pairs) -> Array:
    """How alike pairs of images are, (P,): the correlation of their grey values at the best of 49 crops of either.

    `pixels`: uint8 (N, 32, 32, 3). 1 is the same picture; 0 stands for all that are clearly different, in colour too.
    """
    colours = pixels.mean(axis=(1, 2))  # (N, 3)
    fine = grey_values(pixels)  # (N, 32, 32)
    coarse = fine.reshape(-1, GRID // 2, 2, GRID // 2, 2).mean(axis=(2, 4))  # (N, 16, 16)
    likenesses = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), _PAIRS):
        some = pairs[start : start + _PAIRS]
        tint = np.abs(colours[some[:, 0]] - colours[some[:, 1]]).max(axis=1)
        a, b = (_standard(coarse[side].reshape(len(some), -1), 1) for side in some.T)
        turned = _standard(coarse[some[:, 1], :, ::-1].reshape(len(some), -1), 1)
        straight, mirrored = (a * b).sum(axis=1), (a * turned).sum(axis=1)
        left = np.flatnonzero((tint <= _TINT) & (np.maximum(straight, mirrored) >= _UNALIGNED))
        flip = mirrored > straight
        left = left[_aligned(coarse, some[left], flip[left]) >= _COARSE]
        likenesses[start + left] = _aligned(fine, some[left], flip[left])
    return likenesses


def difference(pixels: NDArray[np.uint8], pairs: Pairs) -> Array:
    """Root mean square of the difference of pairs of images as they are, (P,), in levels of 255."""
    differences: Array = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), _PAIRS):
        a, b = (pixels[side].astype(np.float32) for side in pairs[start : start + _PAIRS].T)
        differences[start : start + _PAIRS] = np.sqrt(np.square(a - b).mean(axis=(1, 2, 3)))
    return differences


def _aligned(grey: Array, pairs: Pairs, flip: NDArray[np.bool_]) -> Array:
    """The best correlation of each pair, one of the two cropped and the second mirrored where `flip` says so, (P,)."""
    a, b = grey[pairs[:, 0]], grey[pairs[:, 1]]
    b = np.where(flip[:, None, None], b[:, :, ::-1], b)
    best: Array = np.maximum(_best(a, b), _best(b, a))
    return best


def _best(whole: Array, part: Array) -> Array:
    """The highest correlation of any crop of `whole` with `part`, each (P, S, S)."""
    crops = _crops(whole.shape[1])
    number, side = crops.shape[:2]
    # (P, 7, S, S), rows stretched
    cropped = (crops.reshape(-1, side) @ whole).reshape(-1, number, side, side)
    every = np.matmul(cropped[:, :, None], crops.transpose(0, 2, 1))  # (P, 7, 7, S, S)
    every = every.reshape(len(whole), number * number, side * side)
    other = _standard(part.reshape(len(part), side * side, 1), 1)
    correlation: Array = (_standard(every, 2) @ other)[..., 0]  # (P, 49)
    best: Array = correlation.max(axis=1, initial=-1)
    return best


def _standard(values: Array, axis: int) -> Array:
    centred = values - values.mean(axis=axis, keepdims=True)
    unit: Array = centred / np.maximum(np.linalg.norm(centred, axis=axis, keepdims=True), 1e-6)
    return unit


@cache
def _crops(side: int) -> Array:
    """Matrices (7, side, side) that stretch a part of so many values to all: all, and 95 and 90 % at three places."""
    parts = [(0.0, 1.0)]
    parts += [(place * (1 - kept), kept) for kept in (0.95, 0.9) for place in (0, 0.5, 1)]
    return np.stack([_stretch(start, kept, side) for start, kept in parts])


def _stretch(start: float, kept: float, side: int) -> Array:
    """Linear interpolation, as a matrix."""
    places = np.clip(start * side + kept * (np.arange(side) + 0.5) - 0.5, 0, side - 1)
    left = np.minimum(places.astype(int), side - 2)
    matrix: Array = np.zeros((side, side), np.float32)
    matrix[np.arange(side), left] = 1 - (places - left)
    matrix[np.arange(side), left + 1] += places - left
    return matrix
