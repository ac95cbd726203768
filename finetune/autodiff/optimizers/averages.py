"""Moving averages of variables, often a little better than the variables themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetune.autodiff.graph import Operation
from finetune.autodiff.ops.elementwise import cast, minimum
from finetune.autodiff.ops.state import group
from finetune.autodiff.tensor import Variable
from models.errors import GraphError

if TYPE_CHECKING:
    from finetune.autodiff.session import Session


class MovingAverages:
    """a <- d a + (1 - d) w after each step, with d = min(decay, (1 + t) / (10 + t)) so that the start is forgotten.

    Source: the formula of TensorFlow's ExponentialMovingAverage with `num_updates`.
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = decay
        self.averages: dict[Variable, Variable] = {}

    def follow(self, train: Operation) -> Operation:
        """The training step `train`, followed by the averages of all trainable variables that it changes.

        Raises:
            GraphError: it changes none.
        """
        new = {t.op.attrs["variable"]: t for t in train.inputs if t.op.type == "assign"}
        graph = train.graph
        with graph.root_scope(), graph.name_scope("averages"):
            done = cast(graph.step, graph.dtype)
            decay = minimum((1.0 + done) / (10.0 + done), self.decay)
            updates = []
            for w, value in new.items():
                if w.trainable:
                    average = graph.variable(0.0, w.sizes, name=w.name, trainable=False, like=w)
                    updates.append(average.assign(average - (1.0 - decay) * (average - value)))
                    self.averages[w] = average
            if not updates:
                raise GraphError(
                    f"{train.name} changes no trainable variable; expected an optimizer's minimize(...)."
                )
            return group([*train.inputs, *updates], "step")

    def use(self, session: Session) -> None:
        """Put the averages in the place of the variables."""
        session.load({w: session.value(average) for w, average in self.averages.items()})
