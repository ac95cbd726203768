"""Pieces of tensors: slice, pad, gather. Their gradients put the pieces back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from finetune.autodiff.emitter import Emitter, Order
from finetune.autodiff.graph import Operation
from finetune.autodiff.indexing import WHOLE, Bounds
from finetune.autodiff.ops.elementwise import cast, equal
from finetune.autodiff.ops.rules import INT64, require_integer, what
from finetune.autodiff.ops.shape import unsqueeze
from finetune.autodiff.registry import Permuted, Spec, register_op
from finetune.autodiff.shapes import count, normal_axis, show
from finetune.autodiff.tensor import Tensor, apply
from models.errors import ShapeError

_END = np.iinfo(np.int64).max  # ONNX's sign for "up to the end"


def _sliced(op: Operation) -> list[Spec]:
    x = op.inputs[0]
    sizes: list[int | None] = []
    for size, (start, stop, step) in zip(x.shape, op.attrs["bounds"], strict=True):
        if step == 0:
            raise ShapeError(f"{what(op)}: a step of 0 goes nowhere.")
        whole = (start, stop, step) == WHOLE
        sizes.append(
            size if whole else None if size is None else len(range(*slice(start, stop, step).indices(size)))
        )
    return [Spec(tuple(sizes), x.dtype)]


def _slice(emit: Emitter, x: str, bounds: Sequence[Bounds]) -> str:
    cut = [(axis, *b) for axis, b in enumerate(bounds) if b != WHOLE]
    if not cut:
        return x
    starts = [(0 if step > 0 else _END) if start is None else start for _, start, _, step in cut]
    stops = [(_END if step > 0 else -_END) if stop is None else stop for _, _, stop, step in cut]
    lists = (starts, stops, [axis for axis, *_ in cut], [step for *_, step in cut])
    return emit.node("Slice", [x, *(emit.constant(values, INT64) for values in lists)])


def _bounds_order(op: Operation, order: Order) -> Permuted:
    return Permuted({"bounds": tuple(op.attrs["bounds"][axis] for axis in order)}, order)


register_op(
    "slice",
    shape=_sliced,
    lower=lambda emit, op, x: _slice(emit, x, op.attrs["bounds"]),
    gradient=lambda op, g: apply("unslice", [g, op.inputs[0]], bounds=op.attrs["bounds"]),
    permute=_bounds_order,
)


def _unslice_lower(emit: Emitter, op: Operation, g: str, x: str) -> str:
    """Zeros in the shape of x with g in the places that the slice takes."""
    shape, bounds = op.inputs[1].shape, op.attrs["bounds"]
    pads = [_margins(size, b) for size, b in zip(shape, bounds, strict=True)]
    if all(pad is not None for pad in pads):
        before, after = zip(*(pad for pad in pads if pad is not None), strict=True)
        return emit.node(
            "Pad", [g, emit.constant([*before, *after], INT64), emit.constant(0, op.inputs[0].dtype)]
        )
    sizes, flat = emit.node("Shape", [x]), emit.constant([-1], INT64)
    places = emit.node("Range", [emit.constant(0), emit.node("Size", [x]), emit.constant(1)])
    places = _slice(emit, emit.node("Reshape", [places, sizes], allowzero=1), bounds)
    total = emit.node("Reshape", [emit.node("Size", [x]), emit.constant([1])])
    zeros = emit.node("Expand", [emit.constant(0, op.inputs[0].dtype), total])
    flat_g, flat_places = emit.node("Reshape", [g, flat]), emit.node("Reshape", [places, flat])
    return emit.node(
        "Reshape", [emit.node("ScatterElements", [zeros, flat_places, flat_g]), sizes], allowzero=1
    )


def _margins(size: int | None, bounds: Bounds) -> tuple[int, int] | None:
    """What a slice of step 1 leaves out before and after, None when that is not known or it has another step."""
    if bounds == WHOLE:
        return 0, 0
    if size is None or bounds[2] != 1:
        return None
    taken = range(*slice(*bounds).indices(size))
    return (taken.start, size - taken.start - len(taken))


register_op(
    "unslice",
    shape=lambda op: [Spec(op.inputs[1].shape, op.inputs[0].dtype)],
    lower=_unslice_lower,
    gradient=(lambda op, g: apply("slice", [g], bounds=op.attrs["bounds"]), None),
)


def _padded(op: Operation) -> list[Spec]:
    x, pads = op.inputs[0], op.attrs["pads"]
    if len(pads) != x.rank or any(number < 0 for pair in pads for number in pair):
        raise ShapeError(
            f"{what(op)}: {pads} is not a (before, after) >= 0 for each axis of {show(x.shape)}."
        )
    shape = tuple(
        size if pair == (0, 0) else None if size is None else size + sum(pair)
        for size, pair in zip(x.shape, pads, strict=True)
    )
    return [Spec(shape, x.dtype)]


def _pad_lower(emit: Emitter, op: Operation, x: str) -> str:
    before, after = zip(*op.attrs["pads"], strict=True)
    return emit.node(
        "Pad",
        [x, emit.constant([*before, *after], INT64), emit.constant(op.attrs["value"], op.inputs[0].dtype)],
    )


def _pad_gradient(op: Operation, g: Tensor) -> Tensor:
    bounds = tuple((before or None, -after if after else None, 1) for before, after in op.attrs["pads"])
    return apply("slice", [g], bounds=bounds)


register_op(
    "pad",
    shape=_padded,
    lower=_pad_lower,
    gradient=_pad_gradient,
    permute=lambda op, order: Permuted(
        {**op.attrs, "pads": tuple(op.attrs["pads"][a] for a in order)}, order
    ),
)


def pad(x: Tensor, pads: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """x with `value` put before and after it along each axis."""
    return apply("pad", [x], pads=tuple((int(a), int(b)) for a, b in pads), value=value)


def _gathered(op: Operation) -> list[Spec]:
    x, indices = op.inputs
    require_integer(op, indices)
    axis = op.attrs["axis"]
    return [Spec((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype)]


register_op(
    "gather",
    shape=_gathered,
    lower=lambda emit, op, x, indices: emit.node("Gather", [x, indices], axis=op.attrs["axis"]),
    gradient=(
        lambda op, g: apply("scatter_add", [g, op.inputs[1], op.inputs[0]], axis=op.attrs["axis"]),
        None,
    ),
)


def _scatter_lower(emit: Emitter, op: Operation, g: str, indices: str, x: str) -> str:
    """Add the pieces of g to zeros in the shape of x, at the places from which they were gathered."""
    shape, axis = op.inputs[2].shape, op.attrs["axis"]

    def three(middle: int | None) -> str:  # (before, along, behind the axis); one of them may be unknown
        sizes = (count(shape[:axis]), middle, count(shape[axis + 1 :]))
        return emit.constant([-1 if size is None else size for size in sizes], INT64)

    pieces = emit.node("Reshape", [g, three(count(op.inputs[1].shape))])
    places = emit.node(
        "Expand", [emit.node("Reshape", [indices, emit.constant([1, -1, 1])]), emit.node("Shape", [pieces])]
    )
    sizes = emit.node("Shape", [x])
    zeros = emit.node("Expand", [emit.constant(0, op.inputs[0].dtype), sizes])
    zeros = emit.node("Reshape", [zeros, three(shape[axis])])
    result = emit.node("ScatterElements", [zeros, places, pieces], axis=1, reduction="add")
    return emit.node("Reshape", [result, sizes])


register_op(
    "scatter_add",
    shape=lambda op: [Spec(op.inputs[2].shape, op.inputs[0].dtype)],
    lower=_scatter_lower,
    gradient=(lambda op, g: apply("gather", [g, op.inputs[1]], axis=op.attrs["axis"]), None, None),
)


def gather(x: Tensor, indices: Tensor, axis: int = 0) -> Tensor:
    """Pieces of x along `axis` at integer positions; positions from the end count as -1, -2, ..."""
    return apply("gather", [x, indices], axis=normal_axis("gather", axis, x.rank))


def one_hot(indices: Tensor, depth: int) -> Tensor:
    """(...) integers as (..., depth) rows of zeros with a one, in the graph's dtype; outside 0..depth-1 all zeros."""
    places = indices.graph.constant(np.arange(depth, dtype=indices.dtype))
    return cast(equal(unsqueeze(indices, indices.rank), places), indices.graph.dtype)
