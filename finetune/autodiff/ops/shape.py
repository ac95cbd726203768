"""Operations that move elements without changing them: reshape, transpose, stretch, concat, split, pad."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from finetune.autodiff.emitter import Emitter, Order, register_lowering
from finetune.autodiff.graph import Operation
from finetune.autodiff.ops.rules import INT64, any_order, require_one_dtype, what
from finetune.autodiff.registry import Permuted, Spec, many, not_differentiable, register_op
from finetune.autodiff.shapes import Shape, broadcast, count, known, merge, normal_axes, normal_axis, show
from finetune.autodiff.tensor import Tensor, apply
from models.errors import ShapeError

# reshape


def _reshape_shape(op: Operation) -> list[Spec]:
    x, wanted = op.inputs[0], op.attrs["shape"]
    if sum(size == -1 for size in wanted) > 1 or any(size < -1 for size in wanted):
        raise ShapeError(f"{what(op)}: {wanted} is not a shape; expected sizes, one of which may be -1.")
    total, rest = count(x.shape), math.prod(size for size in wanted if size != -1)
    if total is None:
        return [Spec(tuple(None if size == -1 else size for size in wanted), x.dtype)]
    if (rest != total) if -1 not in wanted else (rest == 0 or total % rest):
        raise ShapeError(f"{what(op)}: {show(x.shape)} has {total} elements; they do not fill {wanted}.")
    return [Spec(tuple(total // rest if size == -1 else size for size in wanted), x.dtype)]


def _to_shape(emit: Emitter, x: str, shape: Shape) -> str:
    sizes = [-1 if size is None else size for size in shape]
    return emit.node("Reshape", [x, emit.constant(sizes, INT64)], allowzero=int(0 in sizes))


register_op(
    "reshape",
    shape=_reshape_shape,
    lower=lambda emit, op, x: _to_shape(emit, x, op.output.shape),
    gradient=lambda op, g: reshape_like(g, op.inputs[0]),
)


def _reshape_like_lower(emit: Emitter, op: Operation, x: str, like: str) -> str:
    shape = op.inputs[1].shape
    if shape.count(None) == 0 or (shape.count(None) == 1 and 0 not in shape):
        return _to_shape(emit, x, shape)
    return emit.node("Reshape", [x, emit.node("Shape", [like])], allowzero=1)


register_op(
    "reshape_like",
    shape=lambda op: [Spec(op.inputs[1].shape, op.inputs[0].dtype)],
    lower=_reshape_like_lower,
    gradient=(lambda op, g: reshape_like(g, op.inputs[0]), None),
)


def reshape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """The same elements in another shape; one size may be -1."""
    return apply("reshape", [x], shape=tuple(shape))


def reshape_like(x: Tensor, like: Tensor) -> Tensor:
    """The same elements in the shape of `like`, also where that is known only when the graph runs."""
    return apply("reshape_like", [x, like])


register_op(
    "shape",
    shape=lambda op: [Spec((op.inputs[0].rank,), INT64)],
    lower=lambda emit, op, x: emit.node("Shape", [x]),
    gradient=not_differentiable("sizes are whole numbers"),
)


def shape_of(x: Tensor) -> Tensor:
    """The sizes of x, int64 (rank,), as they are when the graph runs."""
    return apply("shape", [x])


def flatten(x: Tensor) -> Tensor:
    """(N, ...) as (N, features)."""
    return reshape(x, (-1, math.prod(known("flatten", x.shape[1:]))))


def _unsqueezed(op: Operation) -> list[Spec]:
    shape = list(op.inputs[0].shape)
    for axis in op.attrs["axes"]:
        shape.insert(axis, 1)
    return [Spec(tuple(shape), op.inputs[0].dtype)]


def _squeezed(op: Operation) -> list[Spec]:
    shape, axes = op.inputs[0].shape, op.attrs["axes"]
    if any(shape[axis] not in (1, None) for axis in axes):
        raise ShapeError(f"{what(op)}: axes {axes} of {show(shape)} are not all of size 1.")
    return [Spec(tuple(size for i, size in enumerate(shape) if i not in axes), op.inputs[0].dtype)]


register_op(
    "unsqueeze",
    shape=_unsqueezed,
    lower=lambda emit, op, x: emit.node("Unsqueeze", [x, emit.constant(op.attrs["axes"], INT64)]),
    gradient=lambda op, g: squeeze(g, op.attrs["axes"]),
)
register_op(
    "squeeze",
    shape=_squeezed,
    lower=lambda emit, op, x: emit.node("Squeeze", [x, emit.constant(op.attrs["axes"], INT64)]),
    gradient=lambda op, g: unsqueeze(g, op.attrs["axes"]),
)


def unsqueeze(x: Tensor, axes: int | Sequence[int]) -> Tensor:
    """Axes of size 1 put in, so that they are `axes` of the result."""
    rank = x.rank + (1 if isinstance(axes, int) else len(axes))
    return apply("unsqueeze", [x], axes=normal_axes("unsqueeze", axes, rank))


def squeeze(x: Tensor, axes: int | Sequence[int]) -> Tensor:
    """Axes of size 1 taken out."""
    return apply("squeeze", [x], axes=normal_axes("squeeze", axes, x.rank))


# transpose


def _transposed(op: Operation) -> list[Spec]:
    x, order = op.inputs[0], op.attrs["order"]
    if sorted(order) != list(range(x.rank)):
        raise ShapeError(
            f"{what(op)}: {order} is not an order of the {x.rank} axes of {x.name} {show(x.shape)}."
        )
    return [Spec(tuple(x.shape[axis] for axis in order), x.dtype)]


register_op(
    "transpose",
    shape=_transposed,
    lower=lambda emit, op, x: emit.node("Transpose", [x], perm=op.attrs["order"]),
    gradient=lambda op, g: transpose(g, tuple(np.argsort(op.attrs["order"]).tolist())),
)


@register_lowering("transpose")
def _relabel(emit: Emitter, op: Operation) -> bool:
    """Nothing moves: the same memory, with the axes called otherwise."""
    have = emit.order(op.inputs[0])
    emit.bind(op.output, emit.read(op.inputs[0], have), tuple(op.attrs["order"].index(axis) for axis in have))
    return True


def transpose(x: Tensor, order: Sequence[int] | None = None) -> Tensor:
    """Axis i of the result is axis `order[i]` of x; by default they are reversed."""
    return apply("transpose", [x], order=tuple(reversed(range(x.rank)) if order is None else order))


# stretching


def _broadcast_like_shape(op: Operation) -> list[Spec]:
    x, like = op.inputs
    if broadcast(what(op), x.shape, like.shape) != like.shape:
        raise ShapeError(f"{what(op)}: {show(x.shape)} does not stretch to {show(like.shape)}.")
    return [Spec(like.shape, x.dtype)]


register_op(
    "broadcast_like",
    shape=_broadcast_like_shape,
    lower=lambda emit, op, x, like: emit.node("Expand", [x, emit.node("Shape", [like])]),
    gradient=(lambda op, g: g, None),
    permute=any_order,
)


def broadcast_like(x: Tensor, like: Tensor) -> Tensor:
    """x stretched to the shape of `like`."""
    return apply("broadcast_like", [x, like])


def zeros_like(x: Tensor) -> Tensor:
    """Zeros in the shape and dtype of x."""
    return broadcast_like(x.graph.constant(np.zeros((), x.dtype)), x)


def ones_like(x: Tensor) -> Tensor:
    """Ones in the shape and dtype of x."""
    return broadcast_like(x.graph.constant(np.ones((), x.dtype)), x)


# concat and split


def _concat_shape(op: Operation) -> list[Spec]:
    axis = op.attrs["axis"]
    require_one_dtype(op, op.inputs)
    others = [tuple(1 if i == axis else size for i, size in enumerate(t.shape)) for t in op.inputs]
    shape = list(merge(what(op), *others))
    shape[axis] = (
        None if any(t.shape[axis] is None for t in op.inputs) else sum(t.shape[axis] or 0 for t in op.inputs)
    )
    return [Spec(tuple(shape), op.inputs[0].dtype)]


def _concat_gradient(op: Operation, g: Tensor) -> list[Tensor | None]:
    axis = op.attrs["axis"]
    return list(split(g, known(what(op), [t.shape[axis] for t in op.inputs]), axis))


def _axis_order(op: Operation, order: Order) -> Permuted:
    return Permuted({**op.attrs, "axis": order.index(op.attrs["axis"])}, order)


register_op(
    "concat",
    shape=_concat_shape,
    lower=lambda emit, op, *names: emit.node("Concat", names, axis=op.attrs["axis"]),
    gradient=many(_concat_gradient),
    permute=_axis_order,
)


def _split_shape(op: Operation) -> list[Spec]:
    x, axis, sizes = op.inputs[0], op.attrs["axis"], op.attrs["sizes"]
    if x.shape[axis] not in (None, sum(sizes)):
        raise ShapeError(
            f"{what(op)}: sizes {sizes} add up to {sum(sizes)}; axis {axis} of {show(x.shape)} differs."
        )
    return [Spec((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype) for size in sizes]


def _split_lower(emit: Emitter, op: Operation, x: str) -> list[str]:
    sizes = op.attrs["sizes"]
    return emit.nodes_of("Split", [x, emit.constant(sizes, INT64)], len(sizes), axis=op.attrs["axis"])


def _split_gradient(op: Operation, *gs: Tensor | None) -> Tensor:
    return concat(
        [zeros_like(y) if g is None else g for y, g in zip(op.outputs, gs, strict=True)], op.attrs["axis"]
    )


register_op("split", shape=_split_shape, lower=_split_lower, gradient=_split_gradient, permute=_axis_order)


def concat(tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Tensors one behind the other along `axis`."""
    if len(tensors) == 1:
        return tensors[0]
    return apply("concat", tensors, axis=normal_axis("concat", axis, tensors[0].rank))


def split(x: Tensor, sizes: Sequence[int], axis: int) -> tuple[Tensor, ...]:
    """Pieces of the given sizes along `axis`."""
    attrs = {"axis": normal_axis("split", axis, x.rank), "sizes": tuple(sizes)}
    return x.graph.create("split", [x], attrs).outputs


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Tensors of one shape along a new `axis`."""
    return concat([unsqueeze(t, axis) for t in tensors], axis)
