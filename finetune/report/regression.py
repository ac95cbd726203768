"""How far off a model is that answers with a number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finetune.report.findings import Floats, Interval
from finetune.trust.measures import Share, mean_interval, r2


@dataclass(frozen=True)
class RegressionMeasure:
    """Errors over N images, in the unit of the targets; `mse` in its square."""

    images: int
    mse: float
    rmse: float
    mae: float
    mae_interval: tuple[float, float]  # 95 %, by the normal approximation of a mean
    r2: float  # NaN where all targets are equal
    bias: float  # mean of predicted - true
    worst: float  # largest absolute error
    baseline_mae: float  # of answering the median of the targets always


@dataclass(frozen=True)
class Coverage:
    """How many true values lie within their interval, against how many should."""

    level: float
    inside: Share
    width: float  # mean width, in the targets' unit
    chosen: bool = False  # whether these images set the width: then it holds as many of them as it should

    def words(self) -> str:
        """Whether the intervals keep what they promise: whether the level lies within the share's own interval."""
        low, high = self.inside.interval
        share = (
            f"{100 * self.inside.value:.1f} % of the true values lie in their {100 * self.level:g} % interval"
        )
        if self.chosen:
            return f"{share}; its width was set by the errors of these images, so that this is no test of it."
        if low <= self.level <= high:
            return f"{share}, as they should."
        if self.inside.value < self.level:
            return f"{share}: the intervals are too narrow, and the model is surer of itself than it may be."
        return f"{share}: the intervals are wider than they need to be."


def measure_regression(truth: Floats, values: Floats) -> RegressionMeasure:
    """Errors of `values` against `truth`, (N,) each with N >= 1."""
    truth, values = truth.astype(np.float64), values.astype(np.float64)
    errors = np.abs(values - truth)
    mse = float(np.square(errors).mean())
    low, high = mean_interval(errors)
    return RegressionMeasure(
        len(truth),
        mse,
        float(np.sqrt(mse)),
        float(errors.mean()),
        (max(0.0, low), high),
        r2(truth, values),
        float((values - truth).mean()),
        float(errors.max()),
        float(np.abs(truth - np.median(truth)).mean()),
    )


def coverage(truth: Floats, interval: Interval, *, chosen: bool = False) -> Coverage:
    """How many of `truth` (N,) lie within the interval, ends included; `chosen`: its width was set by them."""
    inside = (interval.low <= truth) & (truth <= interval.high)
    width = float((interval.high - interval.low).mean())
    return Coverage(interval.level, Share(int(inside.sum()), len(truth)), width, chosen)


@dataclass(frozen=True)
class ErrorComparison:
    """Two models' mean absolute errors on the same images, and how much smaller the new one's is."""

    new: float
    previous: float
    gain: float  # mean of |previous error| - |new error|
    interval: tuple[float, float]  # 95 % of the gain, by the normal approximation of paired differences

    def words(self) -> str:
        """Whether the new model is better."""
        low, high = self.interval
        if low > 0 or high < 0:
            return f"The new model is {'closer' if low > 0 else 'further off'}, and by more than chance would explain."
        return "The difference is within what chance explains: it proves neither model better."


def compare_errors(truth: Floats, new: Floats, previous: Floats) -> ErrorComparison:
    """Compare two regressions on the same images, (N,) each."""
    fresh, old = np.abs(new - truth).astype(np.float64), np.abs(previous - truth).astype(np.float64)
    gain = old - fresh
    return ErrorComparison(float(fresh.mean()), float(old.mean()), float(gain.mean()), mean_interval(gain))
