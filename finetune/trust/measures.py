"""The measures that everything else is said with: shares and their intervals, softmax, R², AUROC."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054  # the normal distribution holds 95 % within +- this many standard deviations


@dataclass(frozen=True)
class Share:
    """A number of images out of others, with the 95 % confidence interval of the share (Wilson)."""

    count: int
    images: int

    @property
    def value(self) -> float:
        """The share, 0 to 1; NaN of no images."""
        return self.count / self.images if self.images else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Low and high end, 0 to 1; of no images all is possible."""
        return wilson_interval(self.count, self.images) if self.images else (0.0, 1.0)


def accuracy(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> Share:
    """How often `predicted` is `truth`, class indices (N,)."""
    return Share(int((truth == predicted).sum()), len(truth))


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % confidence interval, (low, high) within 0 to 1, of a proportion.

    With p = successes / trials and z = 1.96: (p + z²/2n ± z sqrt(p(1 - p)/n + z²/4n²)) / (1 + z²/n).
    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    share, z2 = successes / trials, Z95**2 / trials
    middle = (share + z2 / 2) / (1 + z2)
    half = Z95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials)) / (1 + z2)
    # Of all or none the formula ends at the share itself, but for rounding.
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def mean_interval(values: NDArray[Any]) -> tuple[float, float]:
    """The 95 % confidence interval of the mean of (N,) by its normal approximation; NaN of fewer than two values."""
    spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    middle, half = float(values.mean()), Z95 * spread / math.sqrt(len(values))
    return middle - half, middle + half


def softmax(logits: NDArray[Any], temperature: float = 1.0) -> NDArray[np.float64]:
    """softmax(logits / temperature) over classes, (N, classes), without overflow."""
    scores = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def r2(truth: NDArray[Any], values: NDArray[Any]) -> float:
    """R² = 1 - sum (y - f)² / sum (y - mean y)² of (N,): 1 is perfect, 0 is what the mean reaches; NaN: all y equal."""
    truth, values = truth.astype(np.float64), values.astype(np.float64)
    if not np.ptp(truth):  # the mean of equal numbers may be off by a rounding
        return float("nan")
    return 1 - float(np.square(truth - values).sum()) / float(np.square(truth - truth.mean()).sum())


def auroc_error(
    known: NDArray[Any], unknown: NDArray[Any], other: tuple[NDArray[Any], NDArray[Any]] | None = None
) -> float:
    """The standard error of `auroc`, or of what it is more than that of `other` scores of the same images.

    By how often each image stands on the right side of those of the other kind (DeLong, DeLong and Clarke-Pearson 1988,
    "Comparing the areas under two or more correlated receiver operating characteristic curves"). NaN of fewer than two
    images of a kind.
    """
    sides = _sides(known, unknown)
    if other is not None:
        sides = tuple(a - b for a, b in zip(sides, _sides(*other), strict=True))
    if min(map(len, sides)) < 2:
        return float("nan")
    return math.sqrt(sum(float(side.var(ddof=1)) / len(side) for side in sides))


def _sides(known: NDArray[Any], unknown: NDArray[Any]) -> tuple[NDArray[np.float64], ...]:
    """The share of unknown images above each known one, and of known ones below each unknown one; ties count half."""
    both = []
    for one, rest, sign in ((known, unknown, -1), (unknown, known, 1)):
        ordered = np.sort(sign * np.asarray(rest, np.float64))
        place = sign * np.asarray(one, np.float64)
        both.append(
            (np.searchsorted(ordered, place, "left") + np.searchsorted(ordered, place, "right"))
            / 2
            / max(len(rest), 1)
        )
    return tuple(both)


def auroc(known: NDArray[Any], unknown: NDArray[Any]) -> float:
    """The probability that an unknown image scores above a known one, ties counted half; NaN where one is empty.

    The area under the receiver operating characteristic, by ranks (Mann and Whitney 1947).
    """
    if not len(known) or not len(unknown):
        return float("nan")
    _, place, counts = np.unique(np.concatenate([known, unknown]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    above = ranks[len(known) :].sum() - len(unknown) * (len(unknown) + 1) / 2
    return float(above / (len(known) * len(unknown)))
