"""Reverse mode: adds the operations that compute derivatives to the graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from finetune.autodiff import registry
from finetune.autodiff.graph import Operation
from finetune.autodiff.shapes import Shape
from finetune.autodiff.tensor import Tensor, apply
from models.errors import GradientError, GraphError, ShapeError


def gradients(
    ys: Tensor | Sequence[Tensor], xs: Sequence[Tensor], gradients_of_ys: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """d(sum of `ys`) / dx for each of `xs`, as tensors of the shapes of `xs`.

    Only operations between `xs` and `ys` are differentiated. `gradients_of_ys` weighs the ys (default: ones). The
    results are part of the graph like everything else: they can be differentiated again.

    Raises:
        GradientError: an x has no way to the ys, or holds integers.
        GraphError: tensors of two graphs.
    """
    ys = [ys] if isinstance(ys, Tensor) else list(ys)
    graph = ys[0].graph
    for tensor in (*ys, *xs):
        if tensor.graph is not graph:
            raise GraphError(f"gradients: {tensor.name} belongs to another Graph than {ys[0].name}.")
        if not tensor.is_real:
            raise GradientError(
                f"gradients: {tensor.name} holds {tensor.dtype}; only real numbers have gradients."
            )
    with graph.name_scope("gradients"):
        sums: dict[Tensor, list[Tensor]] = {}
        for y, g in zip(ys, gradients_of_ys or [_ones_like(y) for y in ys], strict=True):
            if g.shape != y.shape:
                raise ShapeError(f"gradients: {y.name} is {y.shape}, its weight {g.name} is {g.shape}.")
            sums.setdefault(y, []).append(g)
        ops = _between(xs, ys)
        on_the_way = {*xs, *(t for op in ops for t in op.outputs)}
        for op in reversed(ops):
            outer = [_total(sums, t) if t in sums and t.is_real else None for t in op.outputs]
            if all(g is None for g in outer):
                continue
            wanted = [t in on_the_way and t.is_real for t in op.inputs]
            with graph.name_scope(op.name.rpartition("/")[2]):
                inner = registry.get(op.type).input_gradients(op, wanted, outer)
                for tensor, ask, part in zip(op.inputs, wanted, inner, strict=True):
                    if ask and part is not None:
                        sums.setdefault(tensor, []).append(sum_to(part, tensor.shape))
        return [_total(sums, x) if x in sums else _refuse(x, ys) for x in xs]


def _between(xs: Sequence[Tensor], ys: Sequence[Tensor]) -> list[Operation]:
    """The operations that depend on an x and on which a y depends, in the order of the graph."""
    behind: set[Operation] = set()
    waiting = [y.op for y in ys]
    while waiting:
        op = waiting.pop()
        if op not in behind:
            behind.add(op)
            waiting.extend(t.op for t in op.inputs)
    reached, between = set(xs), []
    for op in ys[0].graph.operations():
        if op in behind and not reached.isdisjoint(op.inputs):
            reached.update(op.outputs)
            between.append(op)
    return between


def sum_to(gradient: Tensor, shape: Shape) -> Tensor:
    """Undo broadcasting: sum a gradient over the axes along which a tensor of `shape` was stretched."""
    extra = gradient.rank - len(shape)
    ones = [i for i, size in enumerate(shape) if size == 1 and gradient.shape[extra + i] != 1]
    axes = (*range(extra), *(extra + i for i in ones))
    if not axes:
        return gradient
    total = apply("sum", [gradient], axes=axes, keepdims=False)  # in one pass, whichever axes they are
    return apply("unsqueeze", [total], axes=tuple(ones)) if ones else total


def _total(sums: dict[Tensor, list[Tensor]], tensor: Tensor) -> Tensor:
    """Sum of the gradients that have arrived at `tensor`, kept for the next who asks."""
    total = sums[tensor][0]
    for g in sums[tensor][1:]:
        total = total + g
    sums[tensor] = [total]
    return total


def _ones_like(tensor: Tensor) -> Tensor:
    one = tensor.graph.constant(np.ones((), tensor.dtype))
    return one if tensor.rank == 0 else apply("broadcast_like", [one, tensor])


def _refuse(x: Tensor, ys: Sequence[Tensor]) -> Tensor:
    blocked = next((op for op in _between([x], ys) if not _differentiable(op)), None)
    names = ", ".join(y.name for y in ys)
    if blocked is None:
        raise GradientError(f"gradients: {names} does not depend on {x.name}. Leave it out.")
    raise GradientError(f"gradients: of {names} for {x.name}: {registry.gradient_refused(blocked)}")


def _differentiable(op: Operation) -> bool:
    blocked = isinstance(registry.get(op.type).gradient, registry.NotDifferentiable)
    return not blocked and any(t.is_real for t in op.outputs)
