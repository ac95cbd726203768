"""Learning rates that change with the step: a schedule takes the step (a real scalar, from 0) and returns the rate."""

from __future__ import annotations

import math
from collections.abc import Callable

from finetune.autodiff.ops.elementwise import cos, floor, maximum, minimum, where
from finetune.autodiff.tensor import Tensor, as_tensor

Schedule = Callable[[Tensor], Tensor]


def constant(rate: float) -> Schedule:
    """`rate` at every step."""
    return lambda step: as_tensor(rate, step)


def exponential(rate: float, steps: int, factor: float, staircase: bool = False) -> Schedule:
    """rate * factor ^ (step / steps); `staircase` takes the whole part of the exponent."""

    def at(step: Tensor) -> Tensor:
        exponent = step / steps
        return rate * factor ** (floor(exponent) if staircase else exponent)

    return at


def cosine(rate: float, steps: int, final: float = 0.0, warmup: int = 0) -> Schedule:
    """Up in a line from 0 for `warmup` steps, then down half a cosine to `final` at `steps`, and stay.

    Source: Loshchilov and Hutter, "SGDR" (2017), without restarts.
    """

    def at(step: Tensor) -> Tensor:
        down = _between(rate, final, (step - warmup) / max(steps - warmup, 1))
        return where(step < warmup, rate * (step + 1.0) / max(warmup, 1), down) if warmup else down

    return at


def one_cycle(peak: float, steps: int, rise: float = 0.3, start: float = 25.0, end: float = 1e4) -> Schedule:
    """Half a cosine up from peak/start in the first `rise` of the steps, and down to peak/start/end in the rest.

    Source: Smith and Topin, "Super-Convergence" (2018), in the form with cosines.
    """
    top = rise * steps - 1.0

    def at(step: Tensor) -> Tensor:
        up = _between(peak / start, peak, step / top)
        return where(step <= top, up, _between(peak, peak / start / end, (step - top) / (steps - 1.0 - top)))

    return at


def _between(first: float, last: float, fraction: Tensor) -> Tensor:
    """From `first` to `last` along half a cosine as `fraction` goes from 0 to 1."""
    inside = maximum(minimum(fraction, 1.0), 0.0)
    return last + (first - last) * 0.5 * (1.0 + cos(math.pi * inside))
