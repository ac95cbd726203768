"""Keeps gradients small: a clipping takes all gradients of a step and returns them clipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add

import numpy as np

from finetune.autodiff.ops.activations import clip
from finetune.autodiff.ops.elementwise import cast, maximum, sqrt, square
from finetune.autodiff.ops.reductions import reduce_sum
from finetune.autodiff.tensor import Tensor

Clipping = Callable[[Sequence[Tensor]], list[Tensor]]


def by_value(limit: float) -> Clipping:
    """Each element between -limit and limit."""
    return lambda gradients: [clip(g, -limit, limit) for g in gradients]


def by_norm(limit: float) -> Clipping:
    """Each gradient scaled down to an L2 norm of `limit` where it is longer."""
    return lambda gradients: [_shorten(g, global_norm_squared([g]), limit) for g in gradients]


def by_global_norm(limit: float) -> Clipping:
    """All gradients scaled by one factor, so that together they are not longer than `limit` (Pascanu et al., 2013)."""

    def shorten(gradients: Sequence[Tensor]) -> list[Tensor]:
        total = global_norm_squared(gradients)
        return [_shorten(g, total, limit) for g in gradients]

    return shorten


def global_norm_squared(gradients: Sequence[Tensor]) -> Tensor:
    """Sum of the squares of all elements of all gradients, a scalar.

    Summed in double precision, so that it is the same number in whichever order of axes gradients lie in memory.
    """
    return cast(reduce(add, [reduce_sum(cast(square(g), np.float64)) for g in gradients]), gradients[0].dtype)


def _shorten(g: Tensor, squared_norm: Tensor, limit: float) -> Tensor:
    return g * (limit / maximum(sqrt(squared_norm), limit))
