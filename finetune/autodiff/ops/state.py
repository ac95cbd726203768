"""Where tensors come from and what acts beside them: constants, feeds, variables, assignments, checks, prints."""

from __future__ import annotations

from collections.abc import Sequence

from finetune.autodiff.emitter import Emitter
from finetune.autodiff.graph import Operation
from finetune.autodiff.ops.rules import BOOL, any_order, real_like_first, same_as_first
from finetune.autodiff.registry import Spec, not_differentiable, register_op
from finetune.autodiff.tensor import Tensor, apply
from models.errors import GraphError

_SOURCE = not_differentiable("it has no inputs")


def _declared(op: Operation) -> list[Spec]:
    return [Spec(op.attrs["shape"], op.attrs["dtype"])]


def _compiled(emit: Emitter, op: Operation) -> str:
    """Placeholders and variables are inputs of the model; nothing is written for them."""
    raise GraphError(f"{op.name}: a {op.type} is given, not computed.")


register_op(
    "constant",
    shape=lambda op: [Spec(op.attrs["value"].shape, op.attrs["value"].dtype)],
    lower=lambda emit, op: emit.constant(op.attrs["value"]),
    gradient=_SOURCE,
)
register_op("placeholder", shape=_declared, lower=_compiled, gradient=_SOURCE)
register_op("variable", shape=_declared, lower=_compiled, gradient=_SOURCE)
register_op(
    "assign",
    shape=same_as_first,
    lower=lambda emit, op, x: x,
    gradient=not_differentiable("an assignment ends the step; differentiate the value that it assigns"),
    permute=any_order,
)
register_op(
    "group",
    shape=lambda op: [],
    lower=lambda emit, op, *names: [],
    gradient=not_differentiable("it has no result"),
)


def group(tensors: Sequence[Tensor], name: str = "group") -> Operation:
    """An operation that computes all of `tensors` when it is fetched and returns nothing.

    Raises:
        GraphError: no tensors.
    """
    if not tensors:
        raise GraphError("group: nothing to do; pass at least one tensor.")
    return tensors[0].graph.create("group", tensors, name=name)


register_op(
    "identity", shape=same_as_first, lower=lambda emit, op, x: x, gradient=lambda op, g: g, permute=any_order
)
register_op(
    "stop_gradient",
    shape=same_as_first,
    lower=lambda emit, op, x: x,
    gradient=not_differentiable("stop_gradient stands there to stop it"),
    permute=any_order,
)


def identity(x: Tensor, name: str | None = None) -> Tensor:
    """x under another name."""
    return apply("identity", [x], name)


def stop_gradient(x: Tensor) -> Tensor:
    """x, as a constant in the eyes of `gradients`."""
    return apply("stop_gradient", [x])


def _assert_finite_lower(emit: Emitter, op: Operation, x: str) -> str:
    # x - x is 0 for finite numbers and NaN for all others; the sum is NaN as soon as one of them is.
    total = emit.node("ReduceSum", [emit.node("Sub", [x, x])], keepdims=0)
    emit.effect(op, emit.node("Equal", [total, emit.real(0)]), BOOL, 0)
    return x


def _print_lower(emit: Emitter, op: Operation, x: str) -> str:
    emit.effect(op, emit.node("Identity", [x]), op.inputs[0].dtype, op.inputs[0].rank)
    return x


register_op("assert_finite", shape=real_like_first, lower=_assert_finite_lower, gradient=lambda op, g: g)
register_op("print", shape=same_as_first, lower=_print_lower, gradient=lambda op, g: g)


def assert_finite(x: Tensor, hint: str = "") -> Tensor:
    """x; a run that computes it stops with a NumericsError when an element is NaN or infinite.

    Nothing that the run would have assigned is kept. `hint` is added to the message.
    """
    return apply("assert_finite", [x], hint=hint)


def print_tensor(x: Tensor, message: str = "") -> Tensor:
    """x; each run that computes it prints `message` and the value to standard output."""
    return apply("print", [x], message=message)
