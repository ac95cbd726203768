"""Every rule: what the graph computes equals what onnxruntime computes with the file."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from finetune.autodiff import gradients
from finetune.autodiff.importing import RULES
from models.errors import GraphError
from tests.finetune.autodiff.importing.networks import (
    imported,
    largest_difference,
    network,
    node,
    original,
    reals,
)


class Case(NamedTuple):
    """A network for one rule, and what it is fed."""

    op: str
    model: ModelProto
    x: NDArray[Any]


def one(op: str, x: NDArray[Any], *inputs: Any, outputs: int = 1, opset: int = 18, **attributes: Any) -> Case:
    """A single node that is fed x; its other inputs are constants, None where absent."""
    names = ["x", *("" if value is None else f"c{i}" for i, value in enumerate(inputs))]
    weights = {f"c{i}": value for i, value in enumerate(inputs) if value is not None}
    makes = ["y", *(f"y{i}" for i in range(1, outputs))]
    return Case(
        op, network([node(op, names, makes, **attributes)], weights, ("N", *x.shape[1:]), makes, opset), x
    )


def several(
    op: str, x: NDArray[Any], nodes: list[NodeProto], /, *, shape: Any = None, **weights: Any
) -> Case:
    """Several nodes, for an operator that needs company."""
    return Case(op, network(nodes, weights, shape or ("N", *x.shape[1:])), x)


def i64(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def f32(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


MAP = reals(2, 4, 5, 7)
ROW = reals(3, 6)
POSITIVE = np.abs(ROW) + 0.1
VECTORS = [np.abs(reals(4, seed=s)) + 0.5 for s in range(4)]
SHAPE_OF_X = [
    node("Shape", ["x"], ["sizes"]),
    node("Gather", ["sizes", "zero"], ["batch"], axis=0),
    node("Unsqueeze", ["batch", "axis"], ["first"]),
    node("Concat", ["first", "rest"], ["wanted"], axis=0),
    node("Reshape", ["x", "wanted"], ["y"]),
]

CHUNK = [  # x.chunk(2, 1), as PyTorch writes it
    node("Relu", ["x"], ["r"]),
    node("Shape", ["r"], ["sizes"]),
    node("Gather", ["sizes", "one"], ["channels"]),
    node("Add", ["channels", "one"], ["odd"]),
    node("Div", ["odd", "two"], ["half"]),
    node("Slice", ["r", "half", "channels", "one"], ["y"]),
]

EXPAND = [  # a class token for each image
    node("Shape", ["x"], ["sizes"]),
    node("Gather", ["sizes", "zero"], ["batch"]),
    node("Unsqueeze", ["batch", "axis"], ["first"]),
    node("Concat", ["first", "rest"], ["wanted"], axis=0),
    node("Expand", ["token", "wanted"], ["tokens"]),
    node("Concat", ["tokens", "x"], ["y"], axis=1),
]
BLANK = [  # `x.new_ones(x.size(0), 1, 7)`
    *EXPAND[:4],
    node(
        "ConstantOfShape", ["wanted"], ["ones"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    ),
    node("Concat", ["ones", "x"], ["y"], axis=1),
]
# `x.expand(-1, ...)`, as PyTorch writes it: a -1 becomes a 1.
MINUS_ONE = [
    node("Shape", ["asked"], ["many"]),
    node("ConstantOfShape", ["many"], ["ones"], value=helper.make_tensor("v", TensorProto.INT64, [1], [1])),
    node("Equal", ["asked", "minus"], ["open"]),
    node("Where", ["open", "ones", "asked"], ["sizes"]),
    node("Expand", ["x", "sizes"], ["y"]),
]
TOKENS = {"zero": np.int64(0), "axis": i64(0), "rest": i64(1, 7)}
SEQUENCE = reals(2, 5, 7)
COUNTED = [
    node("Shape", ["x"], ["n"], end=1),
    node("Cast", ["n"], ["m"], to=TensorProto.FLOAT),
    node("Div", ["x", "m"], ["y"]),
]


def chosen(op: str, *compared: str, **weights: Any) -> Case:
    """x where a comparison holds, three times as much elsewhere."""
    nodes = [
        node(op, list(compared), ["holds"]),
        node("Mul", ["x", "three"], ["other"]),
        node("Where", ["holds", "x", "other"], ["y"]),
    ]
    return several(op, ROW, nodes, three=f32(3.0), **weights)


def both(op: str, x: NDArray[Any]) -> Case:
    """One of two comparisons, or both of them."""
    nodes = [
        node("Greater", ["x", "low"], ["a"]),
        node("Less", ["x", "high"], ["b"]),
        node(op, ["a"] if op == "Not" else ["a", "b"], ["holds"]),
        node("Where", ["holds", "x", "low"], ["y"]),
    ]
    return several(op, x, nodes, low=f32(-0.5), high=f32(0.5))


def quantized(op: str, kind: Any, *, axis: int | None = None) -> Case:
    """What is rounded to eight bits and made real numbers again."""
    scale = f32(0.05) if axis is None else np.linspace(0.02, 0.1, 4).astype(np.float32)
    scale = scale.reshape(()) if axis is None else scale
    zero = np.full(scale.shape, 3, kind)
    how = {} if axis is None else {"axis": axis}
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["q"], **how),
        node("DequantizeLinear", ["q", "scale", "zero"], ["y"], **how),
    ]
    return several(op, MAP, nodes, scale=scale, zero=zero)


CASES = [
    one("Abs", ROW),
    one("Add", MAP, reals(4, 1, 1)),
    one("AveragePool", MAP, kernel_shape=[3, 3], strides=[2, 1], pads=[1, 1, 1, 1], count_include_pad=0),
    one("AveragePool", MAP, kernel_shape=[3, 2], pads=[1, 0, 2, 1], count_include_pad=1),
    one("AveragePool", MAP, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    one("BatchNormalization", MAP, *VECTORS, epsilon=1e-3),
    one("BatchNormalization", ROW, *(np.abs(reals(6, seed=s)) for s in range(4))),
    one("Cast", ROW, to=TensorProto.FLOAT),
    one("Clip", ROW, f32(-0.5).reshape(()), f32(0.7).reshape(())),
    one("Clip", ROW, None, f32(0.7).reshape(())),
    one("Clip", ROW),
    one("Clip", ROW, min=0.0, max=6.0, opset=6),
    several("Concat", MAP, [node("Relu", ["x"], ["r"]), node("Concat", ["x", "r"], ["y"], axis=-3)]),
    one("Conv", MAP, reals(6, 4, 3, 3), reals(6), pads=[1, 1, 1, 1], strides=[2, 1]),
    one("Conv", MAP, reals(8, 1, 3, 3), group=4, auto_pad="SAME_UPPER", strides=[2, 2]),
    one("Conv", MAP, reals(6, 2, 2, 2), group=2, auto_pad="SAME_LOWER"),
    one("Conv", MAP, reals(3, 4, 3, 2), auto_pad="VALID", dilations=[2, 3]),
    one("Div", ROW, POSITIVE[:1]),
    one("Dropout", ROW),
    one("Elu", ROW, alpha=0.7),
    one("Erf", ROW),
    one("Exp", ROW),
    one("Flatten", MAP),
    one("Flatten", MAP, axis=3),
    one("Flatten", MAP, axis=-1),
    one("Gather", MAP, i64(2, 0, -1), axis=1),
    one("Gather", MAP, np.int64(1), axis=-1),
    one("Gelu", ROW, opset=20),
    one("Gelu", ROW, opset=20, approximate="tanh"),
    one("Gemm", ROW, reals(6, 5), reals(5)),
    one("Gemm", ROW, reals(5, 6), reals(1), alpha=0.5, beta=2.0, transB=1),
    several("Gemm", ROW, [node("Gemm", ["w", "x"], ["y"], transA=1, transB=1)], w=reals(6, 4)),
    one("GlobalAveragePool", MAP),
    one("GlobalMaxPool", MAP),
    one("HardSigmoid", ROW * 3),
    one("HardSigmoid", ROW, alpha=0.3, beta=0.4),
    one("HardSwish", ROW * 3),
    one("Identity", ROW),
    one("LeakyRelu", ROW),
    one("Log", POSITIVE),
    one("LogSoftmax", ROW),
    one("LogSoftmax", MAP, axis=1),
    one("MatMul", ROW, reals(6, 2)),
    one("MatMul", reals(2, 3, 4), reals(1, 4, 5)),
    one("Max", ROW, f32(0.1), f32(0.2)),
    one("MaxPool", MAP, kernel_shape=[3, 3], strides=[2, 2]),
    one("MaxPool", MAP, kernel_shape=[2, 3], strides=[2, 2], pads=[0, 1, 1, 1]),
    one("MaxPool", MAP, kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1),
    one("MaxPool", MAP, kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
    one("Min", ROW, f32(0.1)),
    one("Mul", ROW, reals(6)),
    one("Neg", ROW),
    one("PRelu", MAP, reals(4, 1, 1)),
    one("Pad", MAP, i64(0, 0, 1, 2, 0, 0, 0, 3), f32(1.5).reshape(())),
    one("Pad", MAP, i64(1, 2), None, i64(3)),
    one("Pow", POSITIVE, f32(1.5).reshape(())),
    one("Reciprocal", POSITIVE),
    one("ReduceMax", MAP, i64(-1), keepdims=0),
    one("ReduceMean", MAP, i64(2, 3), keepdims=0),
    one("ReduceMean", MAP, i64(2, 3)),
    one("ReduceMean", MAP, axes=[2, 3], opset=13),
    one("ReduceMin", MAP),
    one("ReduceSum", MAP, i64(1)),
    one("ReduceSum", MAP, noop_with_empty_axes=1),
    one("Relu", ROW),
    one("Reshape", MAP, i64(0, -1)),
    one("Reshape", MAP, i64(-1, 20, 7)),
    one("Reshape", MAP, i64(-1, 0, 35)),
    one("Reshape", MAP, i64(0, 7, 20), allowzero=0),
    several("Reshape", MAP, SHAPE_OF_X, zero=np.int64(0), axis=i64(0), rest=i64(-1)),
    several("Reshape", MAP[:1], [node("Reshape", ["x", "s"], ["y"])], shape=(1, 4, 5, 7), s=i64(1, -1)),
    one("Sigmoid", ROW),
    one("Slice", MAP, i64(1, -3), i64(3, 2**63 - 1), i64(1, 3), i64(1, 2)),
    one("Slice", MAP, i64(2**63 - 1), i64(-(2**63)), i64(2), i64(-1)),
    one("Slice", MAP, i64(0, 1), i64(1, 3)),
    several("Slice", MAP, CHUNK, one=i64(1), two=i64(2)),
    one("Softmax", ROW),
    one("Softmax", MAP, axis=1),
    one("Softplus", ROW),
    one("Split", MAP, i64(1, 3), axis=1, outputs=2),
    one("Split", MAP, axis=-1, outputs=3, num_outputs=3),
    one("Sqrt", POSITIVE),
    one("Squeeze", MAP[:, :1], i64(1)),
    one("Squeeze", MAP[:, :1]),
    one("Sub", ROW, reals(6)),
    several("Sub", ROW, [node("Sub", ["c", "x"], ["y"])], c=f32(1.0)),
    several("Sum", ROW, [node("Relu", ["x"], ["r"]), node("Sum", ["x", "r", "x"], ["y"])]),
    one("Tanh", ROW),
    one("Transpose", MAP),
    one("Transpose", MAP, perm=[0, 2, 3, 1]),
    one("Unsqueeze", ROW, i64(0, 2)),
    both("And", ROW),
    several("ConstantOfShape", SEQUENCE, BLANK, **TOKENS),
    quantized("DequantizeLinear", np.uint8),
    several(
        "DequantizeLinear",
        MAP,
        [node("DequantizeLinear", ["w", "scale"], ["v"], axis=0), node("Conv", ["x", "v"], ["y"])],
        w=np.arange(-12, 12, dtype=np.int8).reshape(6, 4, 1, 1),
        scale=np.linspace(0.02, 0.1, 6).astype(np.float32),
    ),
    one("Einsum", MAP, reals(4, 3), equation="nchw,cd->nhwd"),
    several("Einsum", SEQUENCE, [node("Einsum", ["x", "x"], ["y"], equation="nqd, nkd -> nqk")]),
    chosen("Equal", "c", "x", c=ROW[:1] * f32(1)),
    several("Expand", SEQUENCE, EXPAND, token=reals(1, 1, 7), **TOKENS),
    several("Expand", MAP[:, :, :1], MINUS_ONE, asked=i64(-1, 4, 3, 7), minus=i64(-1)),
    chosen("Greater", "x", "c", c=f32(0.1)),
    chosen("GreaterOrEqual", "x", "c", c=f32(0.1)),
    one("GroupNormalization", MAP, reals(4), reals(4, seed=1), num_groups=2, opset=21),
    one("GroupNormalization", MAP, reals(2), reals(2, seed=1), num_groups=2, epsilon=1e-3),
    one("InstanceNormalization", MAP, reals(4), reals(4, seed=1), epsilon=1e-3),
    one("InstanceNormalization", SEQUENCE, reals(5), reals(5, seed=1)),
    one("LayerNormalization", SEQUENCE, reals(7), reals(7, seed=1)),
    one("LayerNormalization", MAP, reals(5, 7), axis=2, epsilon=1e-3),
    chosen("Less", "x", "c", c=f32(0.1)),
    chosen("LessOrEqual", "x", "c", c=f32(0.1)),
    one("Mean", ROW, reals(6), f32(0.5)),
    both("Not", ROW),
    both("Or", ROW),
    quantized("QuantizeLinear", np.int8),
    quantized("QuantizeLinear", np.int8, axis=1),
    one("ReduceL2", MAP, i64(1), keepdims=0),
    one("Resize", MAP, None, f32(1, 1, 2, 2), mode="nearest", coordinate_transformation_mode="asymmetric"),
    one("Resize", MAP, None, f32(1.5, 0.5), mode="linear", axes=[2, 3]),
    one(
        "Resize",
        MAP,
        None,
        None,
        i64(2, 4, 9, 3),
        mode="linear",
        coordinate_transformation_mode="align_corners",
    ),
    one("Resize", MAP, None, f32(1, 1, 2, 3), mode="cubic", cubic_coeff_a=-0.5),
    several(
        "Resize",
        MAP,
        [
            node("Shape", ["x"], ["all"]),
            node("Gather", ["all", "first"], ["n"]),
            node("Concat", ["n", "sizes"], ["wanted"], axis=0),
            node("Resize", ["x", "", "", "wanted"], ["y"], mode="nearest"),
        ],
        first=i64(0),
        sizes=i64(4, 10, 14),
    ),
    several(
        "Shape",
        ROW,
        [
            node("Shape", ["x"], ["n"], end=1),
            node("Cast", ["n"], ["m"], to=TensorProto.FLOAT),
            node("Div", ["x", "m"], ["y"]),
        ],
    ),
    several("Where", ROW, [node("Where", ["mask", "x", "c"], ["y"])], mask=ROW[:1] > 0, c=f32(0.5)),
]


def test_every_rule_has_a_case() -> None:
    assert {case.op for case in CASES} == set(RULES)


@pytest.mark.parametrize("case", CASES, ids=[case.op for case in CASES])
def test_equals_onnxruntime(case: Case) -> None:
    names = [value.name for value in case.model.graph.output]
    _, _, got = imported(case.model, case.x)
    for one_got, want in zip(got, original(case.model, {"x": case.x}, names), strict=True):
        assert largest_difference(one_got, want) <= 1e-5


@pytest.mark.parametrize("case", CASES, ids=[case.op for case in CASES])
def test_gradients_flow(case: Case) -> None:
    part, session, _ = imported(case.model, case.x)
    variables = [variable for variable in part.variables.values() if variable.trainable]
    reached = [*variables, part.input]
    total = sum((y.sum() for y in part.outputs.values()), start=part.input.graph.constant(0.0))
    for gradient in session.run(gradients(total, reached), {part.input: case.x}):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            one("Pad", MAP, i64(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect"),
            "Pad node 'y': mode 'reflect' is not supp",
        ),
        (
            one(
                "Resize",
                MAP,
                f32(0, 0, 0, 0, 1, 1, 0.5, 0.5),
                f32(1, 1, 2, 2),
                mode="linear",
                coordinate_transformation_mode="tf_crop_and_resize",
            ),
            "Resize node 'y': tf_crop_and_resize is not supported",
        ),
        (
            one("Resize", MAP, None, None, i64(10, 10), axes=[2, 3], keep_aspect_ratio_policy="not_larger"),
            "Resize node 'y': a kept aspect ratio is not supported",
        ),
        (
            one("MaxPool", MAP, kernel_shape=[2, 2], dilations=[2, 2]),
            "MaxPool node 'y': expected pooling without",
        ),
        (one("MaxPool", reals(1, 2, 9), kernel_shape=[2]), r"MaxPool node 'y': expected .* got \(\?, 2, 9\)"),
        (
            one("Conv", reals(1, 2, 9), reals(3, 2, 3)),
            r"Conv node 'y': its input is \(\?, 2, 9\); only images",
        ),
        (
            one("AveragePool", MAP, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=1),
            "AveragePool node 'y': ceil_mode with count_include_pad is not supported",
        ),
        (
            one("BatchNormalization", MAP, *VECTORS, training_mode=1, outputs=3),
            "BatchNormalization node 'y': it is in training mode; export the network for inference",
        ),
        (
            several(
                "Reshape",
                MAP,
                [node("Cast", ["x"], ["s"], to=TensorProto.INT64), node("Reshape", ["x", "s"], ["y"])],
            ),
            "Reshape node 'y': 's' is known only when the network runs; export it with fixed sizes",
        ),
    ],
)
def test_what_a_rule_refuses(case: Case, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        imported(case.model, case.x)
