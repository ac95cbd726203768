"""From numbers to places on a plot, and where an axis has its marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finetune.report.findings import Floats

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)  # parts of a power of ten that a person counts in
_MARGIN = 0.05  # of the range, beside what is drawn
_FAR = 1e100  # where a logarithmic axis ends at the latest: ratios have to be numbers


@dataclass(frozen=True)
class Scale:
    """One axis: the numbers at its ends, and the places where those are."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, values: Floats) -> Floats:
        """Where numbers are."""
        low, high, x = self.low, self.high, np.asarray(values, np.float64)
        if self.log:
            low, high, x = math.log10(low), math.log10(high), np.log10(np.maximum(x, 1e-300))
        return np.asarray(self.start + (x - low) / (high - low) * (self.end - self.start))


def limits(
    values: Floats, log: bool, low: float | None, high: float | None, *, from_zero: bool = False
) -> tuple[float, float]:
    """The ends of an axis for what is drawn; `low` and `high` where they are given. `from_zero`: bars stand on 0."""
    usable = values[np.isfinite(values) & ((values > 0) | (not log))]
    least, most = (float(usable.min()), float(usable.max())) if len(usable) else (1.0, 10.0)
    if log:
        least, most = (min(max(end, 1 / _FAR), _FAR) for end in (least, most))
        room = (most / least) ** _MARGIN if most > least else 2.0
        ends = least / room, most * room
    else:
        room = _MARGIN * (most - least) or max(0.5 * abs(most), 0.5)
        ends = 0.0 if from_zero and least >= 0 else least - room, most + room
    first, last = ends[0] if low is None else low, ends[1] if high is None else high
    return (first, last) if last > first else (first, first + max(abs(first), 1.0))


def ticks(low: float, high: float, most: int, *, log: bool = False, whole: bool = False) -> list[float]:
    """Round numbers between the ends of an axis, `most` at most; `whole` ones where the axis counts."""
    if log:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        apart = max(1, math.ceil((last - first + 1) / most))
        return [10.0**power for power in range(first, last + 1, apart)]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * part for part in _STEPS if power * part >= raw * (1 - 1e-9))
    if whole:
        step = max(1.0, math.ceil(step))
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    return [(first + i) * step for i in range(count)]


def written(values: Sequence[float]) -> list[str]:
    """Numbers beside an axis, with as many digits as tell them apart."""
    for digits in range(3, 9):
        texts = [f"{0.0 if abs(value) < 1e-12 else value:.{digits}g}" for value in values]
        if len(set(texts)) == len(texts):
            break
    return [_plain(text).replace("-", "\N{MINUS SIGN}") for text in texts]


def _plain(text: str) -> str:
    """`1e+03` as 1000, `2e-05` as 2e-5."""
    mantissa, exponent, power = text.partition("e")
    if not exponent:
        return text
    return f"{float(text):.0f}" if 0 <= int(power) <= 6 else f"{mantissa}e{int(power)}"
