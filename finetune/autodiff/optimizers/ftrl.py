"""FTRL-proximal."""

from __future__ import annotations

from typing import Any

from finetune.autodiff.ops.activations import clip
from finetune.autodiff.ops.elementwise import square
from finetune.autodiff.optimizers.base import Memory, Optimizer
from finetune.autodiff.schedules import Schedule
from finetune.autodiff.tensor import Tensor, Variable


class FTRL(Optimizer):
    """n' = n + g^2;  z <- z + g - (n'^p - n^p) / rate w;  w <- (clip(z, -l1, l1) - z) / (n'^p / rate + 2 l2).

    p = -`power` = 1/2. Source: McMahan et al., "Ad Click Prediction" (2013), with l2 counted as 2 l2 as in
    TensorFlow. n begins at `initial`. With l1 it makes sparse linear models.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        power: float = -0.5,
        initial: float = 0.1,
        l1: float = 0.0,
        l2: float = 0.0,
        **common: Any,
    ) -> None:
        super().__init__(learning_rate, **common)
        self.power, self.initial, self.l1, self.l2 = power, initial, l1, l2

    def rule(self, w: Variable, g: Tensor, rate: Tensor, memory: Memory) -> Tensor:
        """See the class."""
        before: list[Tensor] = []

        def grow(n: Tensor) -> Tensor:
            before.append(n**-self.power)
            return n + square(g)

        after = memory.keep("squares", grow, self.initial) ** -self.power
        linear = memory.keep("linear", lambda z: z + g - (after - before[0]) / rate * w)
        kept = clip(linear, -self.l1, self.l1) if self.l1 else 0.0
        return (kept - linear) / (after / rate + 2.0 * self.l2)
