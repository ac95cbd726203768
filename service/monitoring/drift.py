"""Whether a model is shown what it was taught with: windows of what it answers, compared with what its file carries.

Windows follow one another and share no image; each is tested once, when it is full. So looking more often changes
nothing, and the chance that a model ever raises a false alarm is bounded: window k may do so with 6 / (pi k)^2 of
`FALSE_ALARMS`, half of that for what images look like within the classes that are answered for them, half for how these
are mixed.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.card import Label
from models.reference import Reference
from service.monitoring.chances import beta_share, drawn_chance
from service.results import ImageResult

FALSE_ALARMS = 0.01  # the chance that a version of a model ever raises one, while it is served
_LOOKED_AT = 8  # classes whose shares differ most
_log = logging.getLogger("graft")


@dataclass(frozen=True)
class ClassShare:
    """How often a class was answered in a window, and among the images that were held out."""

    label: Label
    share: float
    expected: float


@dataclass(frozen=True)
class Comparison:
    """A window against the reference: what images look like within classes, and how classes are mixed."""

    number: int  # of the window, from 1
    ended: float  # seconds since 1970
    images: int
    # Of the mean of the features: the share of all variation that tells the two apart, 0 to 1.
    statistic: float
    distance: float  # between the mean projections, in deviations, less what chance gives
    p_features: float
    p_classes: float | None  # None for a regression
    level: float  # below which a p-value is an alarm
    changed: ClassShare | None = None  # the class whose share is the least likely

    @property
    def p_value(self) -> float:
        """Of both together (Bonferroni)."""
        return (
            self.p_features if self.p_classes is None else min(1.0, 2 * min(self.p_features, self.p_classes))
        )

    @property
    def alarm(self) -> bool:
        """Whether images look different."""
        return self.p_features < self.level

    @property
    def mixed(self) -> bool:
        """Whether classes are answered in other shares."""
        return self.p_classes is not None and self.p_classes < self.level


@dataclass
class DriftState:
    """What is known at a moment."""

    pending: int = 0  # images of the window that is being filled
    windows: int = 0
    alarms: int = 0  # windows that looked different
    mixed: int = 0  # windows with other shares of classes
    unusable: int = 0  # images whose features were NaN or infinite
    last: Comparison | None = None
    last_alarm: Comparison | None = None


class Drift:
    """Compares what a model answers with its reference. `hear` is called by all runners; memory is that of a window."""

    def __init__(
        self,
        reference: Reference,
        labels: Sequence[Label],
        window: int = 256,
        name: str = "the model",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`window`: images that are compared at a time; `name`: of the model, for the log."""
        self.reference, self.window = reference, window
        self._labels, self._name, self._clock = labels, name, clock
        self._known = reference.features(reference.sample)  # (M, J)
        self._filling = threading.Lock()
        self._rows = np.zeros((window, reference.width), np.float32)
        self._best = np.zeros(window, np.int64)
        self._state = DriftState()

    @property
    def state(self) -> DriftState:
        """What is known now, a copy."""
        with self._filling:
            return DriftState(**vars(self._state))

    def hear(self, results: Sequence[ImageResult]) -> None:
        """Some images were answered."""
        with self._filling:
            for result in results:
                self._put(result)

    def _put(self, result: ImageResult) -> None:
        state, row = self._state, result.projection
        if row is None:
            return
        if not np.isfinite(row).all():
            state.unusable += 1
            return
        self._rows[state.pending] = row
        if result.probabilities is not None:
            self._best[state.pending] = result.probabilities.argmax()
        state.pending += 1
        if state.pending == self.window:
            state.pending = 0
            self._compare(state)

    def _compare(self, state: DriftState) -> None:
        reference, before = self.reference, state.last
        state.windows += 1
        features = reference.features(self._rows)
        statistic, p_features = two_samples(features, self._known, self._best, reference.classes)
        p_classes, changed = None, None
        if reference.counts:
            p_classes, changed = self._classes()
        parts = 1 if p_classes is None else 2
        level = FALSE_ALARMS * 6 / (math.pi * state.windows) ** 2 / parts
        last = Comparison(
            state.windows, self._clock(), self.window, statistic, self._distance(), p_features, p_classes, level,
            changed,
        )  # fmt: skip
        state.last = last
        state.mixed += last.mixed
        if last.alarm:
            state.alarms += 1
            state.last_alarm = last
            if before is None or not before.alarm:
                _log.warning("%s: %s", self._name, verdict(last))

    def _distance(self) -> float:
        """Mahalanobis' between the means of window and held-out images, less its mean where there is no difference."""
        reference = self.reference
        apart = self._rows.mean(axis=0, dtype=np.float64) - reference.mean
        floor = 1e-9 * max(float(np.trace(reference.covariance)), 1e-9) * np.eye(reference.width)
        squared = float(apart @ np.linalg.solve(reference.covariance + floor, apart))
        chance = reference.width * (1 / self.window + 1 / reference.images)
        return math.sqrt(max(0.0, squared - chance))

    def _classes(self) -> tuple[float, ClassShare]:
        """The chance of the least likely share of a class, times the number of classes, and which it is."""
        counts = np.array(self.reference.counts, np.int64)
        seen = np.bincount(self._best, minlength=len(counts))
        total = self.reference.images + self.window
        expected = (counts + seen) * self.window / total
        surprise = np.abs(seen - expected) / np.sqrt(np.maximum(expected, 0.5))
        # The least likely one is among those that are farthest off; to look at fewer makes p no smaller.
        chances = {
            int(c): drawn_chance(int(seen[c]), self.window, int(counts[c] + seen[c]), total)
            for c in np.argsort(-surprise, kind="stable")[:_LOOKED_AT]
        }
        least = min(chances, key=lambda c: chances[c])
        share = ClassShare(
            self._labels[least],
            float(seen[least]) / self.window,
            float(counts[least]) / self.reference.images,
        )
        return min(1.0, len(counts) * chances[least]), share


def two_samples(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    x_classes: NDArray[np.int64] | None = None,
    y_classes: NDArray[np.int64] | None = None,
) -> tuple[float, float]:
    """Whether the means of two samples (n, J) and (m, J) are of one distribution: a statistic, and its p-value.

    With classes, (n,) and (m,), within each of them: that they are mixed otherwise does not count. The statistic is
    Hotelling's, as a share (0 to 1) of the most that it can be. If both samples are of one distribution, any n of the
    n + m rows (of a class) could have been the first: mean and variance of the statistic over all these choices are
    known exactly, whatever the distribution, and a beta distribution with both stands for it.
    tests/service/monitoring/test_drift.py shows how right that is for skewed rows and small samples. After Mardia 1971,
    "The effect of nonnormality on some multivariate tests".
    """
    groups = list(_groups(x, y, x_classes, y_classes))
    covariance = sum(
        (one.choices * one.rows.T @ one.rows for one in groups), np.zeros((x.shape[1], x.shape[1]))
    )
    values, vectors = np.linalg.eigh(covariance)
    varying = values > 1e-10 * max(float(values[-1]), 1e-30)
    whitening = vectors[:, varying] / np.sqrt(values[varying])  # (J, t)
    t, most = float(whitening.shape[1]), float(sum(len(one.rows) - 1 for one in groups))
    if not t or most <= t:
        return 0.0, 1.0
    total, fourth = np.zeros(int(t)), t * t + 2 * t  # of a normal distribution
    for one in groups:
        unit = one.rows @ whitening
        total += unit[: one.first].sum(axis=0)
        fourth += _excess(unit, one.first, one.choices)
    statistic = min(1.0, float(total @ total) / most)
    mean, variance = t / most, (fourth - t * t) / most**2
    if variance <= 1e-15:  # it is the same for all choices
        return statistic, 1.0
    weight = mean * (1 - mean) / variance - 1
    if weight <= 0:
        return statistic, 1.0
    return statistic, beta_share(1 - statistic, (1 - mean) * weight, mean * weight)


@dataclass(frozen=True)
class _Group:
    """Rows (N, J) of one class of both samples, less their mean; the first ones are of the first sample."""

    rows: NDArray[np.float64]
    first: int

    @property
    def choices(self) -> float:
        """The covariance of the sum of the first rows over all choices of them, in parts of that of the rows."""
        count = len(self.rows)
        return self.first * (count - self.first) / (count * (count - 1))


def _groups(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    x_classes: NDArray[np.int64] | None,
    y_classes: NDArray[np.int64] | None,
) -> Iterator[_Group]:
    """The classes that both samples have rows of; of others there is nothing to compare."""
    if x_classes is None or y_classes is None:
        x_classes, y_classes = np.zeros(len(x), np.int64), np.zeros(len(y), np.int64)
    for c in np.intersect1d(x_classes, y_classes):
        ours = x[x_classes == c]
        rows = np.concatenate([ours, y[y_classes == c]])
        yield _Group(rows - rows.mean(axis=0), len(ours))


def _excess(unit: NDArray[np.float64], first: int, choices: float) -> float:
    """By how much the mean of |sum of the first rows|^4 over all choices of them is above that of a normal sum.

    The rows sum to zero, so sums over pairs, triples and fours of different rows follow from three traces.
    """
    count = len(unit)
    square = unit.T @ unit
    trace, squares = float(np.trace(square)), float(np.square(square).sum())
    lever = float(np.square(np.square(unit).sum(axis=1)).sum())
    # That one, two, three and four given rows are all among the first.
    p1, p2, p3, p4 = np.cumprod([max(first - i, 0) / max(count - i, 1) for i in range(4)]).tolist()
    fourth = p1 * lever + p2 * (trace**2 - 7 * lever + 2 * squares)
    fourth += p3 * (12 * lever - 2 * trace**2 - 4 * squares) + p4 * (trace**2 - 6 * lever + 2 * squares)
    return float(fourth - choices**2 * (trace**2 + 2 * squares))


def verdict(one: Comparison) -> str:
    """A comparison in a sentence."""
    last, held = f"the last {one.images:,} images", "those that were held out in training"
    text = f"{last} look like {held} (p = {one.p_features:.2g})"
    if one.alarm:
        far = f"{one.distance:.1f} deviations" if one.distance >= 0.05 else "in how they vary"
        text = f"drift: {last} do not look like {held} ({far}, p = {one.p_features:.2g})"
    if one.mixed and one.changed is not None:
        name, share, expected = one.changed.label.name, one.changed.share, one.changed.expected
        text += (
            f", and classes are mixed otherwise: {name} {share:.0%} of the time in place of {expected:.0%}"
        )
    return text
