"""How good a method is with 50, 100, 1000 and 5000 training samples, and how long it takes to fit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.report.findings import Floats, Ints, LearningPoint

SIZES = (50, 100, 1000, 5000)
FEWEST = 100  # images that a score is measured on below which the end of the curve says nothing
APART = 1.5  # times as many samples that two points have between which the rise is measured
LEVELLED = 0.005  # gain for each doubling of the samples below which more of them are not worth asking for

Predict = Callable[[Floats], NDArray[Any]]
Part = tuple[Floats, NDArray[Any]]  # embeddings (N, D) and class indices or targets (N,)


def learning_curve(
    fit: Callable[[Floats, NDArray[Any]], Predict],
    train: Part,
    val: Part | None = None,
    test: Part | None = None,
    *,
    sizes: tuple[int, ...] = SIZES,
    seed: int = 0,
    score: Callable[[NDArray[Any], NDArray[Any]], float] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[LearningPoint, ...]:
    """Fit on growing parts of the training samples, each part within the next, and on all of them.

    `fit(x, y)` returns a function from x to answers (N,). Sizes larger than the training set are left out, and those
    smaller than twice the number of classes, because most classes would have one sample or none. `score(y, answers)`
    is the accuracy unless given. Seconds are of `fit` alone.
    """
    x, y = train
    rate = score or _accuracy
    classes = y if np.issubdtype(y.dtype, np.integer) else np.zeros(len(y), np.int64)
    order = nested_order(classes, seed)
    fewest = 2 * len(np.unique(classes))
    steps = [*(size for size in sorted(sizes) if fewest <= size < len(y)), len(y)]
    points = []
    for size in steps:
        rows = np.sort(order[:size])
        started = clock()
        predict = fit(x[rows], y[rows])
        seconds = clock() - started
        points.append(
            LearningPoint(
                size,
                rate(y[rows], predict(x[rows])),
                rate(val[1], predict(val[0])) if val and len(val[1]) else None,
                rate(test[1], predict(test[0])) if test and len(test[1]) else None,
                seconds,
            )
        )
    return tuple(points)


def nested_order(classes: Ints, seed: int = 0) -> Ints:
    """An order of the samples in which every beginning is a stratified sample.

    One sample of each class comes first; after that each class comes as often as its share of the whole.
    `classes` int64 (N,); returns indices (N,).
    """
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(classes))
    place = np.empty(len(classes))
    for label in np.unique(classes):
        rows = shuffled[classes[shuffled] == label]
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
        place[rows[0]] = -1
    return shuffled[np.argsort(place[shuffled], kind="stable")]


def growth(points: tuple[LearningPoint, ...], images: int | None = None) -> tuple[bool | None, float] | None:
    """Whether the score still rises at the end of the curve, and its gain for each doubling there.

    Looks at validation images where there are any, so that the test images decide nothing; `images`: how many those
    are. Of fewer than 100 it cannot be told whether the score rises: None in its place. None for all: too few points.
    """
    scores = [(p.samples, p.val if p.val is not None else p.test) for p in points]
    known = [(n, score) for n, score in scores if score is not None and np.isfinite(score)]
    if len(known) < 2:
        return None
    many, after = known[-1]
    # Of two points next to each other a doubling would be guessed from a few samples.
    few, before = next((point for point in known[-2::-1] if many >= APART * point[0]), known[0])
    gain = (after - before) / np.log2(many / few)
    if images is not None and images < FEWEST:
        return None, float(gain)
    return bool(gain > LEVELLED), float(gain)


def _accuracy(y: NDArray[Any], answers: NDArray[Any]) -> float:
    return float((y == answers).mean())
