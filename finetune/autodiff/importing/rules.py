"""ONNX operators in terms of the graph's operations: one row each. Semantics: opset 18."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from finetune.autodiff.importing.node import Node, Rule
from finetune.autodiff.importing.windows import average_pool, conv, max_pool
from finetune.autodiff.ops import activations as act
from finetune.autodiff.ops import elementwise as el
from finetune.autodiff.ops import reductions, softmax
from finetune.autodiff.ops.matmul import matmul
from finetune.autodiff.ops.normalisation import scale_and_shift
from finetune.autodiff.ops.shape import concat, flatten, reshape, split, squeeze, transpose, unsqueeze
from finetune.autodiff.ops.slicing import gather, pad
from finetune.autodiff.ops.state import identity
from finetune.autodiff.ops.training import dropout
from finetune.autodiff.shapes import count, known, normal_axis
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


def _reshape(node: Node, x: Tensor, wanted: Ints) -> Tensor:
    """The batch stays free, also where the file fixes it."""
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
    "AveragePool": Rule(average_pool),
    "BatchNormalization": Rule(_batch_norm, weights=(1, 2), frozen=(3, 4), layer=True),
    "Cast": Rule(_cast),
    "Clip": Rule(_clip, static=(1, 2)),
    "Concat": Rule(lambda node, *xs: concat(xs, node.get("axis"))),
    "Conv": Rule(conv, weights=(1, 2), layer=True),
    "Div": _elementwise(el.divide),
    "Dropout": Rule(_dropout, static=(1, 2)),
    "Elu": Rule(lambda node, x: act.elu(x, node.get("alpha", 1.0))),
    "Erf": _unary(el.erf),
    "Exp": _unary(el.exp),
    "Flatten": Rule(_flatten),
    "Gather": Rule(_gather, static=(1,)),
    "Gelu": Rule(lambda node, x: act.gelu(x, node.get("approximate", "none") == "tanh")),
    "Gemm": Rule(_gemm, weights=(1, 2), layer=True),
    "GlobalAveragePool": Rule(_global_mean),
    "GlobalMaxPool": Rule(_global_max),
    "HardSigmoid": Rule(_hard_sigmoid),
    "HardSwish": Rule(_hard_swish),
    "Identity": _unary(identity),
    "LeakyRelu": Rule(lambda node, x: act.leaky_relu(x, node.get("alpha", 0.01))),
    "Log": _unary(el.log),
    "LogSoftmax": Rule(lambda node, x: softmax.log_softmax(x, node.get("axis", -1))),
    "MatMul": Rule(lambda node, a, b: matmul(a, b), weights=(0, 1), layer=True),
    "Max": _elementwise(el.maximum),
    "MaxPool": Rule(max_pool),
    "Min": _elementwise(el.minimum),
    "Mul": _elementwise(el.multiply),
    "Neg": _unary(el.negative),
    "PRelu": Rule(_prelu, weights=(1,)),
    "Pad": Rule(_pad, static=(1, 2, 3)),
    "Pow": Rule(lambda node, x, power: el.power(x, float(power.item())), static=(1,)),
    "Reciprocal": _unary(el.reciprocal),
    "ReduceMax": _reduction(reductions.reduce_max),
    "ReduceMean": _reduction(reductions.reduce_mean),
    "ReduceMin": _reduction(reductions.reduce_min),
    "ReduceSum": _reduction(reductions.reduce_sum),
    "Relu": _unary(act.relu),
    "Reshape": Rule(_reshape, static=(1,)),
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
}
