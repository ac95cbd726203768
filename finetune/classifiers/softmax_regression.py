"""Logistic regression of several classes in NumPy: it begins where another one has ended, and imports nothing heavy.

Its optimum is that of scikit-learn's LogisticRegression, the import of which takes longer than all of its fits to a
thousand images.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from finetune.trust.measures import softmax

Floats = NDArray[np.float64]
# The largest slope at which a fit ends. scikit-learn ends at 1e-4, where probabilities of photos it has not seen are
# 2 to 6 thousandths from those at the optimum; here they are 1 or 2 thousandths from them.
TOLERANCE = 3e-5
_MOST = 2000  # steps
_REMEMBERED = 10  # steps by which the curvature is known
_FALLS = 1e-4  # of what the slope promises, by which a step has to fall at least (Armijo)
_SHORTEST = 1e-9  # part of a step below which rounding ends the fit
_CURVED = 1e-12  # least curvature along a step that is worth remembering


@dataclass(frozen=True)
class SoftmaxRegression:
    """Logits z W + b: `weights` (D, classes) and `bias` (classes,)."""

    weights: Floats
    bias: Floats

    @classmethod
    def fit(
        cls,
        z: Floats,
        y: NDArray[np.int64],
        classes: int,
        strength: float,
        start: Self | None = None,
        tolerance: float = TOLERANCE,
    ) -> Self:
        """Fit to rows z (N, D) of classes y (N,), each below `classes`.

        Minimises the mean of -log softmax(z W + b)[y], plus |W|^2 / (2 `strength` N); of two classes, in which
        scikit-learn has one column of weights, half as strong a penalty of both columns is the same. `start`: what it
        begins with, in place of zeros. By L-BFGS (Liu & Nocedal 1989) with halved steps, until no slope is above
        `tolerance`; the same bits for the same arrays and one thread of BLAS.
        """
        problem = _Problem(z, y, classes, strength / 2 if classes == 2 else strength)
        place = (
            np.zeros((z.shape[1] + 1, classes)) if start is None else np.vstack([start.weights, start.bias])
        )
        place = _minimised(problem, place, tolerance)
        return cls(place[:-1], place[-1])

    @classmethod
    def of_features(
        cls, x: NDArray[Any], y: NDArray[np.int64], classes: int, strength: float, start: Self | None = None
    ) -> Self:
        """The same for features x (N, D) as they are, which are standardised for the fit; so is `start`."""
        mean, spread = moments(x)
        begun = None if start is None else start.behind(mean, spread)
        return cls.fit(standardised(x, mean, spread), y, classes, strength, begun).of(mean, spread)

    def logits(self, z: NDArray[Any]) -> Floats:
        """Logits (N, classes) of rows z (N, D)."""
        return np.asarray(z @ self.weights + self.bias)

    def probabilities(self, z: NDArray[Any]) -> Floats:
        """Probabilities (N, classes) of rows z (N, D)."""
        return softmax(self.logits(z))

    def of(self, mean: Floats, spread: Floats) -> Self:
        """The same for rows x where it was fitted to (x - mean) / spread, both (D,)."""
        weights = self.weights / spread[:, None]
        return type(self)(weights, self.bias - mean @ weights)

    def behind(self, mean: Floats, spread: Floats) -> Self:
        """The same for rows (x - mean) / spread, both (D,), where it takes x."""
        return type(self)(self.weights * spread[:, None], self.bias + mean @ self.weights)


def moments(x: NDArray[Any]) -> tuple[Floats, Floats]:
    """Mean and standard deviation (D,) of features x (N, D); 1 in place of a deviation that is rounding alone."""
    x = np.asarray(x, np.float64)
    mean, variance = x.mean(axis=0), x.var(axis=0)
    precision = len(x) * float(np.finfo(np.float64).eps)
    # The limit is scikit-learn's, which takes it from Chan, Golub & LeVeque 1983, "Algorithms for computing the sample
    # variance".
    rounding = variance <= precision * variance + (mean * precision) ** 2
    return mean, np.where(rounding, 1.0, np.sqrt(variance))


def standardised(x: NDArray[Any], mean: Floats, spread: Floats) -> Floats:
    """(x - mean) / spread, rounded to what float32 holds: the features that a finished file computes."""
    return np.asarray(((x - mean) / spread).astype(np.float32), np.float64)


class _Problem:
    """The loss and its slope at weights (D + 1, classes), the last row of which is the bias."""

    def __init__(self, z: Floats, y: NDArray[np.int64], classes: int, strength: float) -> None:
        self._z, self._right = z, (np.arange(len(z)), y)
        self._decay = 1 / (strength * len(z))

    def at(self, place: Floats) -> tuple[float, Floats]:
        weights, count = place[:-1], len(self._z)
        logits = self._z @ weights
        logits += place[-1] - (logits + place[-1]).max(axis=1, keepdims=True)
        right = logits[self._right]
        np.exp(logits, out=logits)
        total = logits.sum(axis=1)
        loss = float((np.log(total) - right).mean()) + self._decay / 2 * float(np.vdot(weights, weights))
        logits /= total[:, None]
        logits[self._right] -= 1
        slope = np.empty_like(place)
        np.matmul(self._z.T, logits, out=slope[:-1])
        slope[-1] = logits.sum(axis=0)
        slope /= count
        slope[:-1] += self._decay * weights
        return loss, slope


def _minimised(problem: _Problem, place: Floats, tolerance: float) -> Floats:
    """Where the loss is lowest, by L-BFGS from `place` on."""
    steps: deque[tuple[Floats, Floats, float]] = deque(maxlen=_REMEMBERED)
    loss, slope = problem.at(place)
    for _ in range(_MOST):
        if np.abs(slope).max() <= tolerance:
            break
        way = _downhill(slope, steps)
        promised, part = float(np.vdot(slope, way)), 1.0
        while True:
            other = place + part * way
            fallen, turned = problem.at(other)
            if fallen <= loss + _FALLS * part * promised:
                break
            part /= 2
            if part < _SHORTEST:
                return place
        moved, bent = other - place, turned - slope
        curvature = float(np.vdot(moved, bent))
        if curvature > _CURVED * float(np.vdot(bent, bent)):
            steps.append((moved, bent, 1 / curvature))
        place, loss, slope = other, fallen, turned
    return place


def _downhill(slope: Floats, steps: deque[tuple[Floats, Floats, float]]) -> Floats:
    """The direction that the remembered steps (moved, bent, 1 / curvature) make of a slope: their two loops."""
    way, taken = -slope, []
    for moved, bent, inverse in reversed(steps):
        taken.append(inverse * float(np.vdot(moved, way)))
        way -= taken[-1] * bent
    if steps:
        _, bent, inverse = steps[-1]
        way /= inverse * float(np.vdot(bent, bent))
    for (moved, bent, inverse), share in zip(steps, reversed(taken), strict=True):
        way += (share - inverse * float(np.vdot(bent, way))) * moved
    return way
