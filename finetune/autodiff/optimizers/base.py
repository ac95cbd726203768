"""What optimizers share: gradients, decay, clipping, rates, and the memory that a rule keeps of each variable."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from finetune.autodiff.clipping import Clipping
from finetune.autodiff.gradients import gradients
from finetune.autodiff.graph import Operation
from finetune.autodiff.ops.elementwise import cast
from finetune.autodiff.ops.state import assert_finite, group
from finetune.autodiff.program import needed
from finetune.autodiff.schedules import Schedule
from finetune.autodiff.tensor import Tensor, Variable, as_tensor
from models.errors import GraphError

_HINT = "Lower the learning rate, clip the gradients, or look for wrong values in the data."


class Memory:
    """What an optimizer remembers of one variable from step to step; `t` is the number of this step, from 1."""

    def __init__(self, variable: Variable, t: Tensor) -> None:
        self.variable, self.t = variable, t
        self.updates: list[Tensor] = []

    def keep(self, name: str, change: Callable[[Tensor], Tensor], initial: float = 0.0) -> Tensor:
        """Replace what is remembered as `name` by `change` of it; returns the new value."""
        v = self.variable
        slot = v.graph.variable(float(initial), v.sizes, name=name, trainable=False, like=v)
        new = change(slot)
        self.updates.append(slot.assign(new))
        return new


class Optimizer(ABC):
    """Turns gradients into new values of variables.

    `learning_rate`: a number or a schedule. `weight_decay`: this times the variable is added to its gradient (L2),
    but for those in `undecayed`. `clip`: see `clipping`; before the decay. `rates`: factors on the learning rate for
    single variables.
    """

    def __init__(
        self,
        learning_rate: float | Schedule,
        *,
        weight_decay: float = 0.0,
        clip: Clipping | None = None,
        rates: Mapping[Variable, float] | None = None,
        undecayed: Collection[Variable] = (),
    ) -> None:
        self.learning_rate, self.weight_decay, self.clip = learning_rate, weight_decay, clip
        self.rates, self.undecayed = rates or {}, frozenset(undecayed)

    @abstractmethod
    def rule(self, w: Variable, g: Tensor, rate: Tensor, memory: Memory) -> Tensor:
        """The new value of variable `w` with gradient `g`."""

    def minimize(self, loss: Tensor, variables: Sequence[Variable] | None = None) -> Operation:
        """The training step: fetch it to change `variables` (default: all trainable ones) once.

        It advances the graph's step, and moves the statistics of the batch norms on which `loss` depends.

        Raises:
            GraphError: a loss that is not a scalar, or nothing to train.
            GradientError: a variable on which the loss does not depend.
        """
        graph = loss.graph
        if loss.shape != ():
            raise GraphError(
                f"minimize: the loss {loss.name} is {loss.shape}, expected a scalar. Take its mean."
            )
        depends = set(needed([loss], ()))
        if variables is None:
            variables = [v for v in graph.trainable_variables if v.op in depends]
        if not variables:
            raise GraphError(f"minimize: {loss.name} depends on no trainable variable.")
        checked = assert_finite(loss, _HINT)
        statistics = [update for update, source in graph.updates if source in depends]
        return self.apply(gradients(checked, variables), variables, [checked, *statistics])

    def apply(
        self, grads: Sequence[Tensor], variables: Sequence[Variable], along: Sequence[Tensor] = ()
    ) -> Operation:
        """The training step for given gradients. `along`: what else it computes."""
        graph = variables[0].graph
        with graph.root_scope(), graph.name_scope(type(self).__name__.lower()):
            done = graph.variable(np.zeros((), np.int64), name="iterations", trainable=False)
            now = cast(done, graph.dtype)
            rate = (
                self.learning_rate(now)
                if callable(self.learning_rate)
                else as_tensor(self.learning_rate, now)
            )
            updates = [done.assign(done + 1), graph.step.assign(graph.step + 1)]
            for w, g in zip(variables, self.clip(grads) if self.clip else grads, strict=True):
                with graph.name_scope(w.name):
                    memory = Memory(w, now + 1.0)
                    decayed = (
                        g + self.weight_decay * w if self.weight_decay and w not in self.undecayed else g
                    )
                    new = self.rule(w, decayed, rate * self.rates[w] if w in self.rates else rate, memory)
                    updates += [w.assign(new), *memory.updates]
            return group([*along, *updates], "step")
