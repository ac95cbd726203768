"""Adam and AdamW."""

from __future__ import annotations

from typing import Any

from finetune.autodiff.ops.elementwise import sqrt, square
from finetune.autodiff.optimizers.base import Memory, Optimizer
from finetune.autodiff.schedules import Schedule
from finetune.autodiff.tensor import Tensor, Variable


class Adam(Optimizer):
    """m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;  w <- w - rate m' / (sqrt(v') + epsilon).

    m' = m / (1 - b1^t) and v' = v / (1 - b2^t) undo the start at 0. Source: Kingma and Ba (2015).
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        b1: float = 0.9,
        b2: float = 0.999,
        epsilon: float = 1e-8,
        **common: Any,
    ) -> None:
        super().__init__(learning_rate, **common)
        self.b1, self.b2, self.epsilon = b1, b2, epsilon

    def rule(self, w: Variable, g: Tensor, rate: Tensor, memory: Memory) -> Tensor:
        """See the class."""
        mean = memory.keep("mean", lambda m: self.b1 * m + (1.0 - self.b1) * g)
        squares = memory.keep("squares", lambda v: self.b2 * v + (1.0 - self.b2) * square(g))
        # The corrections are scalars and are put together first: one pass over the weights less.
        root = sqrt(1.0 - self.b2**memory.t)
        scale = rate * root / (1.0 - self.b1**memory.t)
        return w - scale * mean / (sqrt(squares) + self.epsilon * root)


class AdamW(Adam):
    """Adam with w <- w - rate decay w beside the step, in place of L2 in the gradient.

    Source: Loshchilov and Hutter (2019).
    """

    def __init__(self, learning_rate: float | Schedule = 0.001, decay: float = 0.01, **common: Any) -> None:
        super().__init__(learning_rate, **common)
        self.decay = decay

    def rule(self, w: Variable, g: Tensor, rate: Tensor, memory: Memory) -> Tensor:
        """See the class."""
        new = super().rule(w, g, rate, memory)
        return new if w in self.undecayed or not self.decay else new - rate * self.decay * w
