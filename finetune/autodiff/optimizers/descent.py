"""Gradient descent, with and without momentum."""

from __future__ import annotations

from typing import Any

from finetune.autodiff.optimizers.base import Memory, Optimizer
from finetune.autodiff.schedules import Schedule
from finetune.autodiff.tensor import Tensor, Variable


class SGD(Optimizer):
    """w <- w - rate g."""

    def rule(self, w: Variable, g: Tensor, rate: Tensor, memory: Memory) -> Tensor:
        """See the class."""
        return w - rate * g


class Momentum(Optimizer):
    """v <- momentum v + g;  w <- w - rate v,  or with `nesterov`  w <- w - rate (g + momentum v).

    Source: Polyak (1964); Nesterov's form as in Sutskever et al. (2013), rewritten for the point where g is taken.
    """

    def __init__(
        self, learning_rate: float | Schedule, momentum: float = 0.9, nesterov: bool = False, **common: Any
    ) -> None:
        super().__init__(learning_rate, **common)
        self.momentum, self.nesterov = momentum, nesterov

    def rule(self, w: Variable, g: Tensor, rate: Tensor, memory: Memory) -> Tensor:
        """See the class."""
        velocity = memory.keep("velocity", lambda v: self.momentum * v + g)
        return w - rate * (g + self.momentum * velocity if self.nesterov else velocity)
