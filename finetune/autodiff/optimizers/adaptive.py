"""Optimizers that divide by the size of past gradients."""

from __future__ import annotations

from typing import Any

from finetune.autodiff.ops.elementwise import absolute, maximum, sign, sqrt, square
from finetune.autodiff.optimizers.base import Memory, Optimizer
from finetune.autodiff.schedules import Schedule
from finetune.autodiff.tensor import Tensor, Variable


class Adagrad(Optimizer):
    """s <- s + g^2;  w <- w - rate g / (sqrt(s) + epsilon).

    Source: Duchi, Hazan and Singer (2011), diagonal form. s begins at `initial`.
    """

    def __init__(
        self, learning_rate: float | Schedule, initial: float = 0.0, epsilon: float = 1e-10, **common: Any
    ) -> None:
        super().__init__(learning_rate, **common)
        self.initial, self.epsilon = initial, epsilon

    def rule(self, w: Variable, g: Tensor, rate: Tensor, memory: Memory) -> Tensor:
        """See the class."""
        squares = memory.keep("squares", lambda s: s + square(g), self.initial)
        return w - rate * g / (sqrt(squares) + self.epsilon)


class AdagradDA(Optimizer):
    """G <- G + g;  s <- s + g^2;  w <- -rate sign(G) max(|G| - l1 t, 0) / (l2 t rate + sqrt(s)).

    Source: Duchi, Hazan and Singer (2011), dual averaging: w is computed anew from the sums, its first value
    does not matter. With l1 it makes sparse linear models. s begins at `initial`.
    """

    def __init__(
        self,
        learning_rate: float | Schedule,
        l1: float = 0.0,
        l2: float = 0.0,
        initial: float = 0.1,
        **common: Any,
    ) -> None:
        super().__init__(learning_rate, **common)
        self.l1, self.l2, self.initial = l1, l2, initial

    def rule(self, w: Variable, g: Tensor, rate: Tensor, memory: Memory) -> Tensor:
        """See the class."""
        total = memory.keep("sum", lambda s: s + g)
        squares = memory.keep("squares", lambda s: s + square(g), self.initial)
        kept = sign(total) * maximum(absolute(total) - self.l1 * memory.t, 0.0) if self.l1 else total
        return -rate * kept / (self.l2 * memory.t * rate + sqrt(squares))


class Adadelta(Optimizer):
    """s <- rho s + (1 - rho) g^2;  u = sqrt(d + epsilon) / sqrt(s + epsilon) g;  d <- rho d + (1 - rho) u^2;
    w <- w - rate u.

    Source: Zeiler (2012), with a learning rate, which is 1 there.
    """

    def __init__(
        self, learning_rate: float | Schedule = 1.0, rho: float = 0.9, epsilon: float = 1e-6, **common: Any
    ) -> None:
        super().__init__(learning_rate, **common)
        self.rho, self.epsilon = rho, epsilon

    def rule(self, w: Variable, g: Tensor, rate: Tensor, memory: Memory) -> Tensor:
        """See the class."""
        squares = memory.keep("squares", lambda s: self.rho * s + (1.0 - self.rho) * square(g))
        update: list[Tensor] = []

        def change(d: Tensor) -> Tensor:
            update.append(sqrt(d + self.epsilon) / sqrt(squares + self.epsilon) * g)
            return self.rho * d + (1.0 - self.rho) * square(update[0])

        memory.keep("updates", change)
        return w - rate * update[0]


class RMSProp(Optimizer):
    """s <- rho s + (1 - rho) g^2;  v <- momentum v + g / (sqrt(s) + epsilon);  w <- w - rate v.

    Source: Tieleman and Hinton, Coursera lecture 6.5 (2012). `centered` subtracts the square of the mean gradient
    from s (Graves, 2013).
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.01,
        rho: float = 0.99,
        momentum: float = 0.0,
        centered: bool = False,
        epsilon: float = 1e-8,
        **common: Any,
    ) -> None:
        super().__init__(learning_rate, **common)
        self.rho, self.momentum, self.centered, self.epsilon = rho, momentum, centered, epsilon

    def rule(self, w: Variable, g: Tensor, rate: Tensor, memory: Memory) -> Tensor:
        """See the class."""
        size = memory.keep("squares", lambda s: self.rho * s + (1.0 - self.rho) * square(g))
        if self.centered:
            size = size - square(memory.keep("mean", lambda m: self.rho * m + (1.0 - self.rho) * g))
        scaled = g / (sqrt(size) + self.epsilon)
        if self.momentum:
            scaled = memory.keep("velocity", lambda v: self.momentum * v + scaled)
        return w - rate * scaled
