"""Activations: most are one ONNX node, the rest is built from those."""

from __future__ import annotations

import math

import numpy as np
from onnx import helper

from finetune.autodiff.emitter import Emitter
from finetune.autodiff.graph import Operation
from finetune.autodiff.ops.elementwise import cast_like, erf, greater, less, logical_and, where
from finetune.autodiff.ops.rules import any_order, onnx_node, real_like_first
from finetune.autodiff.registry import register_op
from finetune.autodiff.tensor import Tensor, apply


def _relu_gradient_lower(emit: Emitter, op: Operation, g: str, y: str) -> str:
    on = emit.node("Greater", [y, emit.real(0)])
    # Of the ways to write it, onnxruntime's fastest: Where takes three times as long, Sign of y six times.
    return emit.node("Mul", [g, emit.node("Cast", [on], to=helper.np_dtype_to_tensor_dtype(op.graph.dtype))])


register_op(
    "relu",
    shape=real_like_first,
    lower=onnx_node("Relu"),
    # At 0 the gradient is 0: an element that is off gets none.
    gradient=lambda op, g: apply("relu_gradient", [g, op.output]),
    permute=any_order,
)
register_op(
    "relu_gradient",
    shape=real_like_first,
    lower=_relu_gradient_lower,
    gradient=(lambda op, g: apply("relu_gradient", [g, op.inputs[1]]), None),
    permute=any_order,
)


def relu(x: Tensor) -> Tensor:
    """max(x, 0); the gradient at 0 is 0."""
    return apply("relu", [x])


def _clip_lower(emit: Emitter, op: Operation, x: str) -> str:
    return emit.node("Clip", [x, emit.real(op.attrs["low"]), emit.real(op.attrs["high"])])


def _clip_gradient(op: Operation, g: Tensor) -> Tensor:
    """Nothing at the bounds themselves, as for relu."""
    inside = logical_and(greater(op.inputs[0], op.attrs["low"]), less(op.inputs[0], op.attrs["high"]))
    return g * cast_like(inside, g)


register_op("clip", shape=real_like_first, lower=_clip_lower, gradient=_clip_gradient, permute=any_order)


def clip(x: Tensor, low: float, high: float) -> Tensor:
    """x kept between `low` and `high`; the gradient at and beyond the bounds is 0."""
    return apply("clip", [x], low=float(low), high=float(high))


def relu6(x: Tensor) -> Tensor:
    """x kept between 0 and 6 (MobileNet's activation)."""
    return clip(x, 0.0, 6.0)


register_op(
    "sigmoid",
    shape=real_like_first,
    lower=onnx_node("Sigmoid"),
    gradient=lambda op, g: g * op.output * (1.0 - op.output),
    permute=any_order,
)
register_op(
    "tanh",
    shape=real_like_first,
    lower=onnx_node("Tanh"),
    gradient=lambda op, g: g * (1.0 - op.output * op.output),
    permute=any_order,
)
register_op(
    "softplus",
    shape=real_like_first,
    lower=onnx_node("Softplus"),
    gradient=lambda op, g: g * sigmoid(op.inputs[0]),
    permute=any_order,
)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return apply("sigmoid", [x])


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return apply("tanh", [x])


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), without overflow."""
    return apply("softplus", [x])


register_op(
    "elu",
    shape=real_like_first,
    lower=lambda emit, op, x: emit.node("Elu", [x], alpha=op.attrs["alpha"]),
    # At 0 the two sides agree for alpha = 1; otherwise the left one is taken.
    gradient=lambda op, g: g * where(op.inputs[0] > 0.0, 1.0, op.output + op.attrs["alpha"]),
    permute=any_order,
)
register_op(
    "leaky_relu",
    shape=real_like_first,
    lower=lambda emit, op, x: emit.node("LeakyRelu", [x], alpha=op.attrs["alpha"]),
    gradient=lambda op, g: g * where(op.inputs[0] > 0.0, 1.0, op.attrs["alpha"]),  # at 0: the left side
    permute=any_order,
)


def _single(number: float) -> float:
    """The number that ONNX keeps: attributes are single precision, in a float64 graph too."""
    return float(np.float32(number))


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x above 0, alpha (exp(x) - 1) below (Clevert et al., 2015)."""
    return apply("elu", [x], alpha=_single(alpha))


def leaky_relu(x: Tensor, alpha: float = 0.01) -> Tensor:
    """x above 0, alpha x below; the gradient at 0 is alpha."""
    return apply("leaky_relu", [x], alpha=_single(alpha))


def silu(x: Tensor) -> Tensor:
    """x sigmoid(x), also called swish."""
    return x * sigmoid(x)


def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """x times the normal distribution function at x (Hendrycks and Gimpel, 2016), or its approximation by tanh."""
    if approximate:
        return 0.5 * x * (1.0 + tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1.0 + erf(x * math.sqrt(0.5)))
