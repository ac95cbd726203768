"""What optimizers share: gradients, decay, clipping, rates, and the memory that a rule keeps of each variable."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class SplitStep:
    """A training step in two runs.

    The first, with `training=True`, fetches `loss`, which must be finite, and its `gradients`; they change nothing. The
    second runs `apply` with gradients for `reduced`, in the same order. With the same gradients it is to the bit what
    `minimize` does.
    """

    loss: Tensor
    gradients: tuple[Tensor, ...]
    reduced: tuple[Tensor, ...]
    apply: Operation


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
        checked, variables, statistics = _checked(loss, variables)
        return self.apply(gradients(checked, variables), variables, [checked, *statistics])

    def split(self, loss: Tensor, variables: Sequence[Variable] | None = None) -> SplitStep:
        """The training step of `minimize` in two runs, between which gradients of several batches become one.

        Raises:
            GraphError: as `minimize`, or a loss that depends on statistics of its batch.
        """
        checked, variables, statistics = _checked(loss, variables)
        if statistics:
            raise GraphError(
                f"split: {loss.name} depends on {len(statistics)} statistics of its batch (batch norm in training), "
                "and those of a part are not those of the whole: parts would not come to the same step. Freeze the "
                "statistics of the pretrained network, or train in one process."
            )
        graph = loss.graph
        computed = gradients(checked, variables)
        with graph.root_scope(), graph.name_scope("reduced"):
            fed = [graph.placeholder(v.sizes, v.dtype, v.name) for v in variables]
        return SplitStep(checked, tuple(computed), tuple(fed), self.apply(fed, variables))

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


def _checked(
    loss: Tensor, variables: Sequence[Variable] | None
) -> tuple[Tensor, Sequence[Variable], list[Tensor]]:
    """The loss, asserted to be finite, what it is minimized in, and the updates of statistics that go with it."""
    graph = loss.graph
    if loss.shape != ():
        raise GraphError(f"minimize: the loss {loss.name} is {loss.shape}, expected a scalar. Take its mean.")
    depends = set(needed([loss], ()))
    if variables is None:
        variables = [v for v in graph.trainable_variables if v.op in depends]
    if not variables:
        raise GraphError(f"minimize: {loss.name} depends on no trainable variable.")
    statistics = [update for update, source in graph.updates if source in depends]
    return assert_finite(loss, _HINT), variables, statistics
