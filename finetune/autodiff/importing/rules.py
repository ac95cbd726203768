"""ONNX operators in terms of the graph's operations: one row each. Semantics: opset 18."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from finetune.autodiff.importing.node import Node, Rule
from finetune.autodiff.importing.resizing import resize
from finetune.autodiff.importing.windows import average_pool, conv, max_pool
from finetune.autodiff.ops import activations as act
from finetune.autodiff.ops import elementwise as el
from finetune.autodiff.ops import reductions, softmax
from finetune.autodiff.ops.elementwise import cast
from finetune.autodiff.ops.matmul import einsum, matmul
from finetune.autodiff.ops.normalisation import group_norm, layer_norm, scale_and_shift
from finetune.autodiff.ops.shape import (
    broadcast_like,
    concat,
    flatten,
    reshape,
    shape_of,
    split,
    squeeze,
    transpose,
    unsqueeze,
    zeros_like,
)
from finetune.autodiff.ops.slicing import gather, pad
from finetune.autodiff.ops.state import identity, stop_gradient
from finetune.autodiff.ops.training import dropout
from finetune.autodiff.shapes import count, known, normal_axis, show
from finetune.autodiff.tensor import Tensor
from models.errors import GraphError

Ints = NDArray[np.int64]
Reals = NDArray[np.floating[Any]]
_FAR = 2**31 - 1  # exporters write this, or the largest int64, for "up to the end"


def _unary(build: Callable[[Tensor], Tensor]) -> Rule:
    return Rule(lambda node, x: build(x))


def _elementwise(build: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    """Two inputs or, for Max, Min and Sum, any number."""
    return Rule(lambda node, *xs: functools.reduce(build, xs), weights=(0, 1))


def _gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    y = (transpose(a) if node.get("transA", 0) else a) @ (transpose(b) if node.get("transB", 0) else b)
    y = _scaled(y, node.get("alpha", 1.0))
    return y if c is None else y + _scaled(c, node.get("beta", 1.0))


def _scaled(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1.0 else x * factor


def _batch_norm(
    node: Node, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    """With frozen statistics: a scale and a shift of each channel."""
    if node.get("training_mode", 0):
        raise GraphError(f"{node}: it is in training mode; export the network for inference.")
    return scale_and_shift(x, mean, variance, scale, shift, float(node.get("epsilon", 1e-5)))


def _dropout(
    node: Node, x: Tensor, rate: Reals | None = None, training: NDArray[np.bool_] | None = None
) -> Tensor:
    """Drops in training runs only, as everywhere in this graph, whatever `training` says."""
    return dropout(x, 0.5 if rate is None else rate.item())


def _clip(node: Node, x: Tensor, low: Reals | None = None, high: Reals | None = None) -> Tensor:
    return act.clip(x, -math.inf if low is None else low.item(), math.inf if high is None else high.item())


def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    return act.clip(x * float(node.get("alpha", 0.2)) + float(node.get("beta", 0.5)), 0.0, 1.0)


def _hard_swish(node: Node, x: Tensor) -> Tensor:
    return x * act.clip(x * (1 / 6) + 0.5, 0.0, 1.0)


def _prelu(node: Node, x: Tensor, slope: Tensor) -> Tensor:
    return el.where(x > 0.0, x, x * slope)


def _cast(node: Node, x: Tensor) -> Tensor:
    """Real numbers of any precision are the graph's own."""
    wanted = helper.tensor_dtype_to_np_dtype(node.get("to"))
    return el.cast(x, x.graph.dtype if wanted.kind == "f" else wanted)


def _flatten(node: Node, x: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    axis = axis + x.rank if axis < 0 else axis  # x.rank itself is allowed: (elements, 1)
    if axis == 1:
        return flatten(x)
    sides = (count(x.shape[:axis]), count(x.shape[axis:]))
    return reshape(x, [-1 if size is None else size for size in sides])


def _reshape(node: Node, x: Tensor, wanted: Ints | None) -> Tensor:
    """The batch stays free, also where the file fixes it; a multiple of it, as of windows, comes first as well."""
    if node.shape is not None and node.shape.count(None) < 2:
        return reshape(x, [-1 if size is None else size for size in node.shape])
    if wanted is None:
        raise GraphError(
            f"{node}: its shape {show(node.shape or ())} is not known; export it with fixed sizes."
        )
    sizes = wanted.tolist()
    if not node.get("allowzero", 0):
        sizes = [size or x.shape[i] for i, size in enumerate(sizes)]
    if x.rank and x.shape[0] is None and sizes and sizes[0] in (None, node.batch):
        inner = count(x.shape[1:])
        if -1 in sizes[1:] and inner is not None:  # the batch takes the only -1 that a shape may have
            others = math.prod(size for size in sizes[1:] if size not in (None, -1))
            sizes = [inner // others if size == -1 else size for size in sizes]
        sizes = [-1, *sizes[1:]]
    return reshape(x, known(str(node), sizes))


def _filled(node: Node, x: Tensor) -> Tensor:
    """x stretched to the shape of the node, in which the batch may be free."""
    shape = node.shape
    if shape is None or None in shape[1:] or (shape[:1] == (None,) and node.rows is None):
        raise GraphError(f"{node}: its shape {show(shape or ())} is not known; export it with fixed sizes.")
    if shape[:1] == (None,):
        assert node.rows is not None
        row = node.rows[(slice(None), *[slice(0, 1)] * (node.rows.rank - 1))]
        blank = cast(zeros_like(reshape(row, (-1, *[1] * (len(shape) - 1)))), x.dtype)  # (N, 1, ...)
        return broadcast_like(x, blank + x.graph.constant(np.zeros((1, *shape[1:]), x.dtype)))
    return broadcast_like(x, x.graph.constant(np.zeros(shape, x.dtype)))


def _constant_of_shape(node: Node, sizes: Ints | None) -> Tensor:
    value = node.get("value")
    number = np.zeros((), np.float32) if value is None else numpy_helper.to_array(value).reshape(())
    assert node.rows is not None
    graph = node.rows.graph
    return _filled(node, graph.constant(number.astype(graph.dtype) if number.dtype.kind == "f" else number))


def _expand(node: Node, x: Tensor, sizes: Ints | None) -> Tensor:
    return _filled(node, x)


def _layer_norm(node: Node, x: Tensor, scale: Tensor, shift: Tensor | None = None) -> Tensor:
    first = normal_axis(str(node), node.get("axis", -1), x.rank)
    return layer_norm(x, tuple(range(first, x.rank)), scale, shift, float(node.get("epsilon", 1e-5)))


def _group_norm(node: Node, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return group_norm(x, node.get("num_groups"), scale, shift, float(node.get("epsilon", 1e-5)))


def _instance_norm(node: Node, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    (channels,) = known(str(node), [x.shape[1]])
    return group_norm(x, channels, scale, shift, float(node.get("epsilon", 1e-5)))


def _einsum(node: Node, *xs: Tensor) -> Tensor:
    return einsum(node.get("equation"), *xs)


def _quantize(node: Node, x: Tensor, scale: Reals, zero: NDArray[Any] | None = None) -> Tensor:
    """Whole numbers, kept as real ones; gradients pass straight through (Bengio et al., 2013).

    Beyond the bounds as well: the logit of a sure answer often stands at its bound, and is to be explained.
    """
    kind = np.iinfo(np.uint8 if zero is None else zero.dtype)
    scaled = x / _along(node, x, scale) + _along(node, x, 0 if zero is None else zero)
    whole = act.clip(el.nearest(scaled), float(kind.min), float(kind.max))
    return scaled + stop_gradient(whole - scaled)


def _dequantize(node: Node, x: Tensor, scale: Reals, zero: NDArray[Any] | None = None) -> Tensor:
    values = el.cast(x, x.graph.dtype)
    return (values if zero is None else values - _along(node, x, zero)) * _along(node, x, scale)


def _along(node: Node, x: Tensor, numbers: NDArray[Any] | int) -> Tensor:
    """One number for all, or one for each entry along the node's axis."""
    array = np.asarray(numbers, np.float64)
    if array.size > 1:
        axis = normal_axis(str(node), node.get("axis", 1), x.rank)
        array = array.reshape([-1 if i == axis else 1 for i in range(x.rank)])
    return x.graph.constant((array if array.size > 1 else array.reshape(())).astype(x.graph.dtype))


def _axes(x: Tensor, axes: Ints | None) -> tuple[int, ...] | None:
    return None if axes is None or not axes.size else tuple(axes.tolist())


def _squeeze(node: Node, x: Tensor, axes: Ints | None = None) -> Tensor:
    return squeeze(x, _axes(x, axes) or [i for i, size in enumerate(x.shape) if size == 1])


def _unsqueeze(node: Node, x: Tensor, axes: Ints) -> Tensor:
    return unsqueeze(x, axes.tolist())


def _reduction(build: Callable[..., Tensor]) -> Rule:
    def reduce(node: Node, x: Tensor, axes: Ints | None = None) -> Tensor:
        if _axes(x, axes) is None and node.get("noop_with_empty_axes", 0):
            return x
        return build(x, _axes(x, axes), keepdims=bool(node.get("keepdims", 1)))

    return Rule(reduce, static=(1,))


def _length(x: Tensor, axes: tuple[int, ...] | None, keepdims: bool) -> Tensor:
    return el.sqrt(reductions.reduce_sum(el.square(x), axes, keepdims))


def _shape_of(node: Node, x: Tensor) -> Tensor:
    return shape_of(x)[slice(node.get("start", 0), node.get("end"))]


def _global_mean(node: Node, x: Tensor) -> Tensor:
    return reductions.reduce_mean(x, tuple(range(2, x.rank)), keepdims=True)


def _global_max(node: Node, x: Tensor) -> Tensor:
    return reductions.reduce_max(x, tuple(range(2, x.rank)), keepdims=True)


def _split(node: Node, x: Tensor, sizes: Ints | None = None) -> Sequence[Tensor]:
    axis = normal_axis(str(node), node.get("axis", 0), x.rank)
    if sizes is None:
        (total,) = known(str(node), [x.shape[axis]])
        each = -(-total // node.outputs)  # the last piece may be smaller
        sizes = np.array([min(each, total - i * each) for i in range(node.outputs)])
    return split(x, sizes.tolist(), axis)


def _slice(
    node: Node, x: Tensor, starts: Ints, ends: Ints, axes: Ints | None = None, steps: Ints | None = None
) -> Tensor:
    key = [slice(None)] * x.rank
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        axis, step = i if axes is None else int(axes[i]), 1 if steps is None else int(steps[i])
        key[axis] = slice(None if abs(start) >= _FAR else start, None if abs(end) >= _FAR else end, step)
    return x[tuple(key)]


def _gather(node: Node, x: Tensor, indices: Ints) -> Tensor:
    return gather(x, x.graph.constant(indices), node.get("axis", 0))


def _pad(node: Node, x: Tensor, pads: Ints, value: Reals | None = None, axes: Ints | None = None) -> Tensor:
    if node.get("mode", "constant") != "constant":
        raise GraphError(f"{node}: mode {node.get('mode')!r} is not supported; expected constant.")
    half = len(pads) // 2
    pairs: list[tuple[int, int]] = [(0, 0)] * x.rank
    for i, (before, after) in enumerate(zip(pads[:half].tolist(), pads[half:].tolist(), strict=True)):
        pairs[i if axes is None else int(axes[i])] = (before, after)
    return pad(x, pairs, 0.0 if value is None else value.item())


RULES: dict[str, Rule] = {
    "Abs": _unary(el.absolute),
    "Add": _elementwise(el.add),
    "And": Rule(lambda node, a, b: el.logical_and(a, b)),
    "AveragePool": Rule(average_pool),
    "BatchNormalization": Rule(_batch_norm, weights=(1, 2), frozen=(3, 4), layer=True),
    "Cast": Rule(_cast),
    "Clip": Rule(_clip, static=(1, 2)),
    "Concat": Rule(lambda node, *xs: concat(xs, node.get("axis"))),
    "ConstantOfShape": Rule(_constant_of_shape, static=(0,), sized=True),
    "Conv": Rule(conv, weights=(1, 2), layer=True),
    "DequantizeLinear": Rule(_dequantize, static=(1, 2)),
    "Div": _elementwise(el.divide),
    "Dropout": Rule(_dropout, static=(1, 2)),
    "Einsum": Rule(_einsum, weights=(0, 1, 2), layer=True),
    "Elu": Rule(lambda node, x: act.elu(x, node.get("alpha", 1.0))),
    "Equal": Rule(lambda node, a, b: el.equal(a, b)),
    "Erf": _unary(el.erf),
    "Exp": _unary(el.exp),
    "Expand": Rule(_expand, weights=(0,), static=(1,), sized=True),
    "Flatten": Rule(_flatten),
    "Gather": Rule(_gather, static=(1,)),
    "Gelu": Rule(lambda node, x: act.gelu(x, node.get("approximate", "none") == "tanh")),
    "Gemm": Rule(_gemm, weights=(1, 2), layer=True),
    "GlobalAveragePool": Rule(_global_mean),
    "GlobalMaxPool": Rule(_global_max),
    "Greater": Rule(lambda node, a, b: el.greater(a, b)),
    "GreaterOrEqual": Rule(lambda node, a, b: el.greater_equal(a, b)),
    "GroupNormalization": Rule(_group_norm, weights=(1, 2), layer=True),
    "HardSigmoid": Rule(_hard_sigmoid),
    "HardSwish": Rule(_hard_swish),
    "Identity": _unary(identity),
    "InstanceNormalization": Rule(_instance_norm, weights=(1, 2), layer=True),
    "LayerNormalization": Rule(_layer_norm, weights=(1, 2), layer=True),
    "LeakyRelu": Rule(lambda node, x: act.leaky_relu(x, node.get("alpha", 0.01))),
    "Less": Rule(lambda node, a, b: el.less(a, b)),
    "LessOrEqual": Rule(lambda node, a, b: el.less_equal(a, b)),
    "Log": _unary(el.log),
    "LogSoftmax": Rule(lambda node, x: softmax.log_softmax(x, node.get("axis", -1))),
    "MatMul": Rule(lambda node, a, b: matmul(a, b), weights=(0, 1), layer=True),
    "Max": _elementwise(el.maximum),
    "MaxPool": Rule(max_pool),
    "Mean": Rule(lambda node, *xs: functools.reduce(el.add, xs) * (1.0 / len(xs)), weights=(0, 1)),
    "Min": _elementwise(el.minimum),
    "Mul": _elementwise(el.multiply),
    "Neg": _unary(el.negative),
    "Not": _unary(el.logical_not),
    "Or": Rule(lambda node, a, b: el.logical_or(a, b)),
    "PRelu": Rule(_prelu, weights=(1,)),
    "Pad": Rule(_pad, static=(1, 2, 3)),
    "Pow": Rule(lambda node, x, power: el.power(x, float(power.item())), static=(1,)),
    "QuantizeLinear": Rule(_quantize, static=(1, 2)),
    "Reciprocal": _unary(el.reciprocal),
    "ReduceL2": _reduction(_length),
    "ReduceMax": _reduction(reductions.reduce_max),
    "ReduceMean": _reduction(reductions.reduce_mean),
    "ReduceMin": _reduction(reductions.reduce_min),
    "ReduceSum": _reduction(reductions.reduce_sum),
    "Relu": _unary(act.relu),
    "Reshape": Rule(_reshape, static=(1,), sized=True),
    "Resize": Rule(resize, static=(1, 2, 3), sized=True),
    "Shape": Rule(_shape_of),
    "Sigmoid": _unary(act.sigmoid),
    "Slice": Rule(_slice, static=(1, 2, 3, 4)),
    "Softmax": Rule(lambda node, x: softmax.softmax(x, node.get("axis", -1))),
    "Softplus": _unary(act.softplus),
    "Split": Rule(_split, static=(1,)),
    "Sqrt": _unary(el.sqrt),
    "Squeeze": Rule(_squeeze, static=(1,)),
    "Sub": _elementwise(el.subtract),
    "Sum": _elementwise(el.add),
    "Tanh": _unary(act.tanh),
    "Transpose": Rule(lambda node, x: transpose(x, node.get("perm"))),
    "Unsqueeze": Rule(_unsqueeze, static=(1,)),
    "Where": Rule(lambda node, condition, a, b: el.where(condition, a, b), weights=(1, 2)),
}
