"""Arithmetic, functions of one number, comparison and choice. Inputs stretch to one shape by NumPy's rules."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike
from onnx import helper

from finetune.autodiff.emitter import Emitter
from finetune.autodiff.graph import Operation
from finetune.autodiff.ops.rules import (
    BOOL,
    any_order,
    onnx_node,
    real_like_first,
    require_one_dtype,
    same_as_first,
    stretched,
    truth,
    what,
)
from finetune.autodiff.registry import NotDifferentiable, Rule, Spec, not_differentiable, register_op
from finetune.autodiff.shapes import broadcast
from finetune.autodiff.tensor import Tensor, TensorLike, apply
from models.errors import GraphError

Binary = Callable[[TensorLike, TensorLike], Tensor]
Unary = Callable[[TensorLike], Tensor]


def _binary(name: str, onnx: str, left: Rule, right: Rule, doc: str) -> Binary:
    """Register a function of two numbers. A rule takes the inputs a and b, the result y and its gradient g."""

    def rule(f: Rule) -> Rule:
        return lambda op, g: f(*op.inputs, op.output, g)

    register_op(
        name, shape=stretched, lower=onnx_node(onnx), gradient=(rule(left), rule(right)), permute=any_order
    )

    def build(a: TensorLike, b: TensorLike) -> Tensor:
        return apply(name, [a, b])

    build.__name__ = build.__qualname__ = name
    build.__doc__ = doc
    return build


def _unary(name: str, onnx: str, rule: Rule | NotDifferentiable, doc: str) -> Unary:
    """Register a function of one number. The rule takes the input x, the result y and its gradient g."""

    def gradient(f: Rule) -> Rule:
        return lambda op, g: f(op.inputs[0], op.output, g)

    register_op(
        name,
        shape=same_as_first if name in ("negative", "abs", "sign") else real_like_first,
        lower=onnx_node(onnx),
        gradient=rule if isinstance(rule, NotDifferentiable) else gradient(rule),
        permute=any_order,
    )

    def build(x: TensorLike) -> Tensor:
        return apply(name, [x])

    build.__name__ = build.__qualname__ = name
    build.__doc__ = doc
    return build


def _half_at_ties(a: Tensor, b: Tensor, y: Tensor, g: Tensor) -> Tensor:
    """g where a was chosen; at a tie each side gets half, as a central difference says."""
    chosen = cast_like(equal(a, y), g)
    return g * chosen / (chosen + cast_like(equal(b, y), g))


add = _binary("add", "Add", lambda a, b, y, g: g, lambda a, b, y, g: g, "a + b.")
subtract = _binary("subtract", "Sub", lambda a, b, y, g: g, lambda a, b, y, g: -g, "a - b.")
multiply = _binary("multiply", "Mul", lambda a, b, y, g: g * b, lambda a, b, y, g: g * a, "a b.")
divide = _binary("divide", "Div", lambda a, b, y, g: g / b, lambda a, b, y, g: -g * y / b, "a / b.")
maximum = _binary(
    "maximum", "Max", _half_at_ties, lambda a, b, y, g: _half_at_ties(b, a, y, g), "The larger of a and b."
)
minimum = _binary(
    "minimum", "Min", _half_at_ties, lambda a, b, y, g: _half_at_ties(b, a, y, g), "The smaller of a and b."
)

negative = _unary("negative", "Neg", lambda x, y, g: -g, "-x.")
exp = _unary("exp", "Exp", lambda x, y, g: g * y, "e to the x.")
log = _unary("log", "Log", lambda x, y, g: g / x, "Natural logarithm.")
sqrt = _unary("sqrt", "Sqrt", lambda x, y, g: 0.5 * g / y, "Square root.")
reciprocal = _unary("reciprocal", "Reciprocal", lambda x, y, g: -g * y * y, "1 / x.")
sin = _unary("sin", "Sin", lambda x, y, g: g * apply("cos", [x]), "Sine.")
cos = _unary("cos", "Cos", lambda x, y, g: -g * sin(x), "Cosine.")
erf = _unary(
    "erf", "Erf", lambda x, y, g: g * exp(-x * x) * (2.0 / math.sqrt(math.pi)), "Gauss error function."
)
_STEPS = not_differentiable("it is constant between its steps")
sign = _unary("sign", "Sign", _STEPS, "-1, 0 or 1.")
floor = _unary("floor", "Floor", _STEPS, "The largest whole number that is not above x.")
ceil = _unary("ceil", "Ceil", _STEPS, "The smallest whole number that is not below x.")
nearest = _unary("round", "Round", _STEPS, "The nearest whole number, the even one at .5.")
# At 0, where |x| has no derivative, sign is 0: the middle of what comes from either side.
absolute = _unary("abs", "Abs", lambda x, y, g: g * sign(x), "|x|.")
power = _binary(
    "power",
    "Pow",
    lambda a, b, y, g: g * b * a ** (b - 1),
    # log(a) where a > 0; at a = 0 the power does not depend on b > 0, and 0 log 0 must not become NaN.
    lambda a, b, y, g: g * y * log(where(a > 0, a, 1.0)),
    "a to the b; a is positive wherever b is not a whole constant.",
)


def square(x: TensorLike) -> Tensor:
    """x x."""
    return apply("multiply", [x, x])


_TRUTH = not_differentiable("its result is true or false")


def _comparison(name: str, onnx: str, doc: str) -> Binary:
    register_op(name, shape=truth, lower=onnx_node(onnx), gradient=_TRUTH, permute=any_order)

    def build(a: TensorLike, b: TensorLike) -> Tensor:
        return apply(name, [a, b])

    build.__name__ = build.__qualname__ = name
    build.__doc__ = doc
    return build


equal = _comparison("equal", "Equal", "Whether a = b, elementwise.")
less = _comparison("less", "Less", "Whether a < b, elementwise.")
less_equal = _comparison("less_equal", "LessOrEqual", "Whether a <= b, elementwise.")
greater = _comparison("greater", "Greater", "Whether a > b, elementwise.")
greater_equal = _comparison("greater_equal", "GreaterOrEqual", "Whether a >= b, elementwise.")
logical_and = _comparison("logical_and", "And", "Whether both booleans are true.")
logical_or = _comparison("logical_or", "Or", "Whether one of two booleans is true.")

register_op("logical_not", shape=same_as_first, lower=onnx_node("Not"), gradient=_TRUTH, permute=any_order)


def logical_not(x: Tensor) -> Tensor:
    """Whether a boolean is false."""
    return apply("logical_not", [x])


def _where_shape(op: Operation) -> list[Spec]:
    condition, a, b = op.inputs
    if condition.dtype != BOOL:
        raise GraphError(
            f"{what(op)}: the condition {condition.name} holds {condition.dtype}; compare it first."
        )
    require_one_dtype(op, [a, b])
    return [Spec(broadcast(what(op), condition.shape, a.shape, b.shape), a.dtype)]


register_op(
    "where",
    shape=_where_shape,
    lower=onnx_node("Where"),
    gradient=(
        None,
        lambda op, g: where(op.inputs[0], g, 0.0),
        lambda op, g: where(op.inputs[0], 0.0, g),
    ),
    permute=any_order,
)


def where(condition: Tensor, a: TensorLike, b: TensorLike) -> Tensor:
    """a where the condition holds, b elsewhere. One of a and b is a tensor, or both are numbers (graph's dtype)."""
    like = next((t for t in (a, b) if isinstance(t, Tensor)), None)
    graph = condition.graph
    sides = [
        t if isinstance(t, Tensor) else graph.constant(t, graph.dtype if like is None else like.dtype)
        for t in (a, b)
    ]
    return apply("where", [condition, *sides])


def _cast_shape(op: Operation) -> list[Spec]:
    return [Spec(op.inputs[0].shape, op.attrs["dtype"])]


def _cast_lower(emit: Emitter, op: Operation, x: str) -> str:
    return emit.node("Cast", [x], to=helper.np_dtype_to_tensor_dtype(op.attrs["dtype"]))


register_op(
    "cast",
    shape=_cast_shape,
    lower=_cast_lower,
    gradient=lambda op, g: cast(g, op.inputs[0].dtype),
    permute=any_order,
)


def cast(x: Tensor, dtype: DTypeLike) -> Tensor:
    """x in another dtype. A gradient flows only from real numbers to real numbers."""
    return x if x.dtype == np.dtype(dtype) else apply("cast", [x], dtype=np.dtype(dtype))


def cast_like(x: Tensor, like: Tensor) -> Tensor:
    """x in the dtype of `like`."""
    return cast(x, like.dtype)
