"""What more photos of one class would bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from finetune.pages.formatting import quoted
from finetune.report.classification import ClassMeasure
from finetune.report.findings import Ints
from finetune.trust.class_curve import Slope

_DRAWS = 4_000
_LEAST = 0.005  # that the gain is at the low end of its interval, for a class to be named
FEWEST = 5  # measured images of a class


@dataclass(frozen=True)
class ClassGrowth:
    """A class, how many more photos of it, and how many more of its images would be recognised, 0 to 1."""

    name: str
    more: int
    gain: float
    interval: tuple[float, float]  # 95 %

    def words(self) -> str:
        """ "40 more photos of “hat”: about +3 points (1 to 5) of its images recognised"."""
        low, high = self.interval
        return (
            f"{self.more} more photos of {quoted(self.name)}: about {100 * self.gain:+.0f} points "
            f"({100 * low:.0f} to {100 * high:.0f}) of its images recognised"
        )


def class_growths(
    slopes: Mapping[int, Slope], classes: tuple[ClassMeasure, ...], images: Ints
) -> tuple[ClassGrowth, ...]:
    """The classes that more photos would surely help, the most promising first.

    `images` (classes,) were learned from. About as many again are asked for. The model's own error, with its
    uncertainty, is carried on along the class's curve.
    """
    grown = []
    for index, slope in slopes.items():
        one, count = classes[index], int(images[index])
        if one.images < FEWEST or not count:
            continue
        more = 10 * max(1, round(count / 10))
        steps = np.log2((count + more) / count)
        dice = np.random.default_rng(index)
        wrong = one.images - one.correct
        share = (wrong + 0.5) / (one.images + 1)
        middle = _gain(np.log(share / (1 - share)), slope.slope * steps)
        errors = np.clip(dice.beta(wrong + 0.5, one.correct + 0.5, _DRAWS), 1e-6, 1 - 1e-6)
        falls = np.maximum(dice.normal(slope.slope, slope.error, _DRAWS), 0) * steps
        low, high = np.quantile(_gain(np.log(errors / (1 - errors)), falls), (0.025, 0.975))
        if low >= _LEAST:
            grown.append(ClassGrowth(one.name, more, float(middle), (float(low), float(high))))
    return tuple(sorted(grown, key=lambda one: (-one.gain, one.name)))


def _gain(logit: np.ndarray | float, fall: np.ndarray | float) -> np.ndarray:
    """How much an error falls whose logit falls by so much."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(logit))) - 1 / (1 + np.exp(np.asarray(fall) - logit)))
