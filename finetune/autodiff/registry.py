"""What every operation is: its shape rule, its ONNX nodes and its gradient, registered in one block.

Adding an operation, here or in a program of your own:

    register_op(
        "cube",
        shape=same_as_first,                                  # op -> one Spec for each output
        lower=lambda emit, op, x: emit.node("Mul", [x, emit.node("Mul", [x, x])]),
        gradient=lambda op, g: 3.0 * square(op.inputs[0]) * g,
        permute=any_order,                                    # elementwise: the order of the axes is all the same
    )

    def cube(x: Tensor) -> Tensor:
        return apply("cube", [x])

`lower` gets the names of the inputs and returns the name of each output. `gradient` gets the operation and the
gradients of its outputs (None for an output that does not matter) and returns graph tensors: one rule for a
single input, a tuple of rules (None: no gradient) for several, or one rule in `many(...)` that returns a list.
The result may be larger than the input that was stretched to fit: the reverse walk sums it back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from finetune.autodiff.shapes import Shape
from models.errors import GradientError, GraphError

if TYPE_CHECKING:
    from finetune.autodiff.graph import Operation
    from finetune.autodiff.tensor import Tensor


class Spec(NamedTuple):
    """Shape and dtype of an output."""

    shape: Shape
    dtype: np.dtype[Any]


class Permuted(NamedTuple):
    """What becomes of an operation when the axes of its inputs come in another order."""

    attrs: dict[str, Any]
    order: tuple[int, ...]  # of the axes of its outputs


Rule = Callable[..., "Tensor"]
ManyRule = Callable[..., "Sequence[Tensor | None]"]
Permute = Callable[["Operation", tuple[int, ...]], "Permuted | None"]


@dataclass(frozen=True)
class Many:
    """A gradient rule that answers for all inputs at once."""

    rule: ManyRule


@dataclass(frozen=True)
class NotDifferentiable:
    """Says that an operation has no gradient, and why."""

    reason: str


Gradient = Rule | tuple[Rule | None, ...] | Many | NotDifferentiable


@dataclass(frozen=True)
class Definition:
    """An entry of the registry; see the head of this module."""

    name: str
    shape: Callable[[Operation], Sequence[Spec]]
    lower: Callable[..., str | Sequence[str]]
    gradient: Gradient
    permute: Permute | None

    def input_gradients(
        self, op: Operation, wanted: Sequence[bool], gradients: Sequence[Tensor | None]
    ) -> list[Tensor | None]:
        """The gradient of each wanted input, None for the others and where there is none."""
        match self.gradient:
            case NotDifferentiable():
                return [None] * len(wanted)
            case Many(rule):
                return list(rule(op, *gradients))
            case tuple(rules):
                return [
                    rule(op, *gradients) if ask and rule else None
                    for rule, ask in zip(rules, wanted, strict=True)
                ]
            case rule:
                return [rule(op, *gradients)]


_registry: dict[str, Definition] = {}


def register_op(
    name: str,
    *,
    shape: Callable[[Operation], Sequence[Spec]],
    lower: Callable[..., str | Sequence[str]],
    gradient: Gradient,
    permute: Permute | None = None,
) -> None:
    """Make `name` an operation. `permute` says what becomes of it when the axes come in another order (None: its
    inputs are put in order first); see the head of this module for the rest.

    Raises:
        GraphError: the name is taken.
    """
    if name in _registry:
        raise GraphError(f"operation {name!r} is registered already; choose another name.")
    _registry[name] = Definition(name, shape, lower, gradient, permute)


def get(name: str) -> Definition:
    """The entry for `name`.

    Raises:
        GraphError: there is none.
    """
    if name not in _registry:
        raise GraphError(f"no operation {name!r}; there are {', '.join(names())}. `register_op` adds one.")
    return _registry[name]


def names() -> list[str]:
    """Names of all operations, sorted."""
    return sorted(_registry)


def not_differentiable(reason: str) -> NotDifferentiable:
    """In place of a gradient: the operation has none, and `reason` says why."""
    return NotDifferentiable(reason)


def many(rule: ManyRule) -> Many:
    """A gradient rule that returns a list with one entry for each input."""
    return Many(rule)


def gradient_refused(op: Operation) -> GradientError:
    """The error for an operation that stands in the way of a gradient."""
    definition = get(op.type)
    reason = (
        definition.gradient.reason
        if isinstance(definition.gradient, NotDifferentiable)
        else "its result is not real"
    )
    return GradientError(f"no gradient flows through {op.name} ({op.type}): {reason}.")
