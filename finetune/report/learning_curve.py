"""How good a method is with 50, 100, 1000 and 5000 training samples, and how long it takes to fit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.report.findings import Floats, Growth, Ints, LearningPoint
from finetune.trust.measures import Z95

SIZES = (50, 100, 1000, 5000)
REACH = 20  # times as many samples as a point has, all of them may be for it to tell of the end of the curve
RESAMPLES = 400
# Deviation of the logarithm (of base 2) of an error from one draw of so many samples to the next: of regressions on
# features of photos of clothes, of things and of glyphs it was 0.04 to 0.16.
_DRAW = 0.16
_LEAST_ERROR = 1e-3  # whose logarithm is taken
LEVELLED = 0.005  # gain for each doubling of the samples below which more of them are not worth asking for
WORTHWHILE = 0.02  # gain that has to be out of question where the curve is called level

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
    judged = next((part for part in (val, test) if part and len(part[1])), None)
    dice = np.random.default_rng(seed)
    drawn = [dice.integers(0, len(judged[1]), len(judged[1])) for _ in range(RESAMPLES)] if judged else []
    fewest = 2 * len(np.unique(classes))
    steps = [*(size for size in sorted(sizes) if fewest <= size < len(y)), len(y)]
    points = []
    for size in steps:
        rows = np.sort(order[:size])
        started = clock()
        predict = fit(x[rows], y[rows])
        seconds = clock() - started
        answers = [predict(part[0]) if part and len(part[1]) else None for part in (val, test)]
        scores = [
            None if answer is None or part is None else rate(part[1], answer)
            for part, answer in zip((val, test), answers, strict=True)
        ]
        judge = next((answer for answer in answers if answer is not None), None)
        resampled = None
        if judged and judge is not None:
            resampled = np.array([rate(judged[1][some], judge[some]) for some in drawn])
        points.append(
            LearningPoint(size, rate(y[rows], predict(x[rows])), scores[0], scores[1], seconds, resampled)
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


def growth(points: tuple[LearningPoint, ...]) -> Growth | None:
    """What the curve says of twice as many samples; None of too few points.

    Errors fall as a power of the samples, 1 - score = a n^-b (Hestness et al. 2017, "Deep learning scaling is
    predictable, empirically"): a line through the logarithms of the last points, down to a twentieth of all samples, is
    carried on. Looks at validation images where there are any, so that the test images decide nothing. The interval is
    of the same fits to resampled images, and of what the points are off the line.
    """
    scores = [(p, p.val if p.val is not None else p.test) for p in points]
    known = [(p, score) for p, score in scores if score is not None and np.isfinite(score)]
    if len(known) < 2:
        return None
    end = known[-1][0].samples
    last = [one for one in known if one[0].samples * REACH >= end]
    last = last if len(last) > 1 else known[-2:]
    sizes = np.array([point.samples for point, _ in last], np.float64)
    errors = np.array([[1 - score for _, score in last]])  # (1, K)
    (gain,), (spread,) = _carried_on(sizes, errors)
    resamples = [point.resampled for point, _ in last]
    if any(one is None for one in resamples):
        return Growth(float(gain), None, bool(gain > LEVELLED))
    table = np.stack([one for one in resamples if one is not None], axis=1)  # (B, K)
    gains, _ = _carried_on(sizes, 1 - table[np.isfinite(table).all(axis=1)])
    if not len(gains):  # of numbers, resamples that are all the same have no R²
        return Growth(float(gain), None, bool(gain > LEVELLED))
    low, high = np.quantile(gains, (0.025, 0.975)) - np.median(gains)
    half = Z95 * spread
    interval = gain - math.hypot(low, half), gain + math.hypot(high, half)
    rises, level = interval[0] > 0 and gain > LEVELLED, gain <= LEVELLED and interval[1] <= WORTHWHILE
    return Growth(
        float(gain), (float(interval[0]), float(interval[1])), bool(rises) if rises or level else None
    )


def _carried_on(sizes: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """The gains (B,) of a doubling behind the last of K sizes, for errors (B, K), and their standard errors.

    The second is of how far the points lie off their lines, at least as far as other samples would have put them.
    """
    x = np.log2(sizes / sizes[-1])
    logs = np.log2(np.maximum(errors, _LEAST_ERROR))
    centred = x - x.mean()
    slopes = logs @ centred / (centred**2).sum()  # (B,)
    ends = logs.mean(axis=1) - slopes * x.mean()
    free = len(sizes) - 2
    off = logs - (ends[:, None] + slopes[:, None] * x)
    spread = np.sqrt((off**2).sum(axis=1) / free) if free else np.zeros(len(slopes))
    deviation = np.maximum(spread, _DRAW) / np.sqrt((centred**2).sum())  # of the slopes
    reached = 2**ends
    return reached * (1 - 2**slopes), reached * 2**slopes * math.log(2) * deviation


def _accuracy(y: NDArray[Any], answers: NDArray[Any]) -> float:
    return float((y == answers).mean())
