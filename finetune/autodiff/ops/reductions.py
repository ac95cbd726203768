"""Sums, means, extremes and positions of extremes over axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onnx import helper

from finetune.autodiff.emitter import Emitter, Order
from finetune.autodiff.graph import Operation
from finetune.autodiff.ops.elementwise import cast_like, equal, exp, log
from finetune.autodiff.ops.rules import INT64, require_real
from finetune.autodiff.ops.shape import broadcast_like, squeeze, unsqueeze
from finetune.autodiff.ops.state import stop_gradient
from finetune.autodiff.registry import Permuted, Spec, not_differentiable, register_op
from finetune.autodiff.shapes import Shape, count, normal_axes, normal_axis
from finetune.autodiff.tensor import Tensor, apply

Axes = int | Sequence[int] | None


def _reduced(op: Operation) -> Shape:
    shape, axes = op.inputs[0].shape, op.attrs["axes"]
    if op.attrs["keepdims"]:
        return tuple(1 if i in axes else size for i, size in enumerate(shape))
    return tuple(size for i, size in enumerate(shape) if i not in axes)


def _reduced_shape(op: Operation) -> list[Spec]:
    if op.type != "sum":
        require_real(op, op.inputs[0])
    return [Spec(_reduced(op), op.inputs[0].dtype)]


def _reduced_order(op: Operation, order: Order) -> Permuted:
    """The same axes, where they stand now; what is left keeps its order."""
    axes = op.attrs["axes"]
    attrs = {**op.attrs, "axes": tuple(order.index(axis) for axis in axes)}
    if op.attrs["keepdims"]:
        return Permuted(attrs, order)
    left = [axis for axis in order if axis not in axes]
    return Permuted(attrs, tuple(sorted(left).index(axis) for axis in left))


def _reduction(onnx: str) -> Callable[..., str]:
    def lower(emit: Emitter, op: Operation, x: str) -> str:
        axes, keepdims = op.attrs["axes"], int(op.attrs["keepdims"])
        if not axes:  # for ONNX, no axes are all axes
            return emit.node("Identity", [x])
        if onnx == "ReduceSum" and 0 in axes and 1 < len(axes) < op.inputs[0].rank:
            # A bias's gradient: the batch first, in long rows. At once, onnxruntime walks over (N H W, C) in rows of C,
            # and takes twelve times as long for 16 channels.
            x = emit.node(onnx, [x, emit.constant([0], INT64)], keepdims=1)
            axes = tuple(axis for axis in axes if axis)
            x = emit.node(onnx, [x, emit.constant(axes, INT64)], keepdims=1)
            return x if keepdims else emit.node("Squeeze", [x, emit.constant(op.attrs["axes"], INT64)])
        return emit.node(onnx, [x, emit.constant(axes, INT64)], keepdims=keepdims)

    return lower


def spread(g: Tensor, op: Operation) -> Tensor:
    """A gradient of the result of a reduction, stretched to the shape of what was reduced."""
    if not op.attrs["keepdims"]:
        g = unsqueeze(g, op.attrs["axes"])
    return broadcast_like(g, op.inputs[0])


def _mean_gradient(op: Operation, g: Tensor) -> Tensor:
    return spread(g / element_count(op.inputs[0], op.attrs["axes"]), op)


def _extreme_gradient(op: Operation, g: Tensor) -> Tensor:
    """Equal extremes share the gradient evenly."""
    chosen = cast_like(equal(op.inputs[0], spread(op.output, op)), g)
    ties = reduce_sum(chosen, op.attrs["axes"], keepdims=True)
    return spread(g, op) * chosen / ties


for _name, _onnx, _gradient in (
    ("sum", "ReduceSum", lambda op, g: spread(g, op)),
    ("mean", "ReduceMean", _mean_gradient),
    ("max", "ReduceMax", _extreme_gradient),
    ("min", "ReduceMin", _extreme_gradient),
):
    register_op(
        _name, shape=_reduced_shape, lower=_reduction(_onnx), gradient=_gradient, permute=_reduced_order
    )


def _reduce(name: str, x: Tensor, axes: Axes, keepdims: bool) -> Tensor:
    return apply(name, [x], axes=normal_axes(name, axes, x.rank), keepdims=keepdims)


def reduce_sum(x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
    """Sum over `axes` (None: all); 0 where there is nothing to add."""
    return _reduce("sum", x, axes, keepdims)


def reduce_mean(x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
    """Mean over `axes` (None: all); NaN where there is nothing."""
    return _reduce("mean", x, axes, keepdims)


def reduce_max(x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
    """Largest element over `axes` (None: all). Equal ones share the gradient evenly."""
    return _reduce("max", x, axes, keepdims)


def reduce_min(x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
    """Smallest element over `axes` (None: all). Equal ones share the gradient evenly."""
    return _reduce("min", x, axes, keepdims)


def logsumexp(x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over `axes`, without overflow: the maximum is taken out first."""
    peak = stop_gradient(reduce_max(x, axes, keepdims=True))
    result = log(reduce_sum(exp(x - peak), axes, keepdims=True)) + peak
    return result if keepdims else squeeze(result, normal_axes("logsumexp", axes, x.rank))


_POSITION = not_differentiable("its result is a position")
for _name, _onnx in (("argmax", "ArgMax"), ("argmin", "ArgMin")):
    register_op(
        _name,
        shape=lambda op: [Spec(_reduced(op), INT64)],
        lower=lambda emit, op, x, _onnx=_onnx: emit.node(_onnx, [x], axis=op.attrs["axes"][0], keepdims=0),
        gradient=_POSITION,
    )


def argmax(x: Tensor, axis: int = -1) -> Tensor:
    """Position of the largest element along `axis`, the first of equal ones; int64."""
    return apply("argmax", [x], axes=(normal_axis("argmax", axis, x.rank),), keepdims=False)


def argmin(x: Tensor, axis: int = -1) -> Tensor:
    """Position of the smallest element along `axis`, the first of equal ones; int64."""
    return apply("argmin", [x], axes=(normal_axis("argmin", axis, x.rank),), keepdims=False)


def _count_lower(emit: Emitter, op: Operation, x: str) -> str:
    sizes = emit.node("Gather", [emit.node("Shape", [x]), emit.constant(op.attrs["axes"], INT64)])
    product = emit.node("ReduceProd", [sizes], keepdims=0)
    return emit.node("Cast", [product], to=helper.np_dtype_to_tensor_dtype(op.graph.dtype))


def _count_order(op: Operation, order: Order) -> Permuted:
    return Permuted({"axes": tuple(order.index(axis) for axis in op.attrs["axes"])}, ())


register_op(
    "count",
    shape=lambda op: [Spec((), op.graph.dtype)],
    lower=_count_lower,
    gradient=not_differentiable("it depends on the shape alone"),
    permute=_count_order,
)


def element_count(x: Tensor, axes: Axes = None) -> Tensor:
    """Number of elements along `axes` (None: all), a real scalar; a constant when the sizes are known."""
    axes = normal_axes("count", axes, x.rank)
    number = count([x.shape[axis] for axis in axes])
    return apply("count", [x], axes=axes) if number is None else x.graph.constant(float(number))
