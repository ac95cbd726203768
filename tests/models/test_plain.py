"""Operators of onnxruntime's own say the same in standard ONNX: each rule, against onnxruntime with the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from models.importing import import_model
from models.opset import IR_VERSION
from models.plain import RULES, is_for_one_processor, to_plain_operators
from models.runtime import OnnxSession, RuntimeConfig
from tests.models.nets import save

CPU = RuntimeConfig(device="cpu", threads=1)
OWN = "com.microsoft"
RNG = np.random.default_rng(2)
MAP = RNG.standard_normal((2, 4, 6, 6)).astype(np.float32)
ROWS = RNG.standard_normal((3, 5, 8)).astype(np.float32)


class Case(NamedTuple):
    """An operator between other nodes, which take `x` and make `y`."""

    op: str
    x: np.ndarray
    nodes: list[NodeProto]
    weights: dict[str, Any]
    domain: str = OWN


def node(op: str, inputs: list[str], outputs: list[str], domain: str = "", **options: Any) -> NodeProto:
    return helper.make_node(op, inputs, outputs, domain=domain, **options)


def f32(*values: float) -> np.ndarray:
    return np.array(values[0] if len(values) == 1 else values, np.float32)


def u8(value: int) -> np.ndarray:
    return np.array(value, np.uint8)


SCALES = {"xs": f32(0.03), "xz": u8(120), "ys": f32(0.05), "yz": u8(110)}
QUANTIZED = node("QuantizeLinear", ["x", "xs", "xz"], ["xq"])
BACK = node("DequantizeLinear", ["yq", "ys", "yz"], ["y"])


def integer(op: str, inputs: list[str], x: np.ndarray = MAP, domain: str = OWN, **rest: Any) -> Case:
    """An integer operator between what makes integers and what makes them real again."""
    weights = {k: rest.pop(k) for k in list(rest) if isinstance(rest[k], np.ndarray)}
    nodes = [QUANTIZED, node(op, inputs, ["yq"], domain, **rest), BACK]
    return Case(op, x, nodes, {**SCALES, **weights}, domain)


def fused(
    op: str, inputs: list[str], x: np.ndarray = MAP, outputs: tuple[str, ...] = ("y",), **rest: Any
) -> Case:
    """One fused operator."""
    weights = {k: rest.pop(k) for k in list(rest) if isinstance(rest[k], np.ndarray)}
    return Case(op, x, [node(op, inputs, list(outputs), OWN, **rest)], weights)


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


X = ["xq", "xs", "xz"]
KERNEL = {
    "w": RNG.integers(-100, 100, (3, 4, 3, 3)).astype(np.int8), "ws": np.linspace(0.002, 0.004, 3, dtype=np.float32),
    "wz": np.zeros(3, np.int8), "b": np.array([100, -900, 40], np.int32),
}  # fmt: skip
MATRIX = {"w": RNG.integers(-100, 100, (8, 3)).astype(np.int8), "ws": f32(0.003), "wz": np.array(0, np.int8)}
OTHER = {"b": RNG.integers(0, 255, (4, 1, 1)).astype(np.uint8), "bs": f32(0.02), "bz": u8(100)}
CASES = [
    integer("QLinearConv", [*X, "w", "ws", "wz", "ys", "yz", "b"], domain="", pads=[1, 1, 1, 1], **KERNEL),
    integer("QLinearMatMul", [*X, "w", "ws", "wz", "ys", "yz"], ROWS, "", **MATRIX),
    integer("QGemm", [*X, "w", "ws", "wz", "", "ys", "yz"], ROWS[0], **MATRIX),
    integer("QGemm", [*X, "w", "ws", "wz", "b", "ys", "yz"], ROWS[0], transB=1,
            w=MATRIX["w"].T.copy(), ws=KERNEL["ws"], wz=KERNEL["wz"], b=KERNEL["b"]),
    Case("QGemm", ROWS[0], [QUANTIZED, node("QGemm", [*X, "w", "ws", "wz"], ["y"], OWN)], {**SCALES, **MATRIX}),
    integer("QLinearAdd", [*X, "b", "bs", "bz", "ys", "yz"], **OTHER),
    integer("QLinearMul", [*X, "b", "bs", "bz", "ys", "yz"], **OTHER),
    integer("QLinearConcat", ["ys", "yz", *X, *X], axis=1),
    integer("QLinearGlobalAveragePool", [*X, "ys", "yz"]),
    integer("QLinearGlobalAveragePool", [*X, "ys", "yz"], channels_last=1),
    integer("QLinearAveragePool", [*X, "ys", "yz"], kernel_shape=[2, 2], strides=[2, 2]),
    integer("QLinearSigmoid", [*X, "ys", "yz"], ys=f32(1 / 255), yz=u8(0)),
    integer("QLinearLeakyRelu", [*X, "ys", "yz"], alpha=0.2),
    integer("QLinearSoftmax", [*X, "ys", "yz"], ROWS, axis=-1, opset=13, ys=f32(1 / 255), yz=u8(0)),
    fused("FusedConv", ["x", "w", "b"], w=draw(3, 4, 3, 3), b=draw(3), pads=[1, 1, 1, 1], activation="Relu"),
    fused("FusedConv", ["x", "w", "b", "x"], w=draw(4, 4, 1, 1), b=draw(4), activation="Relu"),
    fused("FusedConv", ["x", "w"], w=draw(3, 4, 1, 1), activation="Clip", activation_params=[-0.5, 0.7]),
    fused("FusedConv", ["x", "w"], w=draw(3, 4, 1, 1), activation="HardSigmoid", activation_params=[0.3, 0.4]),
    fused("FusedGemm", ["x", "w", "b"], ROWS[0], w=draw(8, 3), b=draw(3), activation="LeakyRelu", activation_alpha=0.2),
    fused("FusedMatMul", ["x", "w"], ROWS, w=draw(8, 3), alpha=0.5),
    fused("FusedMatMul", ["x", "x"], ROWS, transB=1, alpha=0.3),
    fused("FusedMatMul", ["x", "x"], ROWS, transA=1),
    fused("Gelu", ["x"]),
    fused("BiasGelu", ["x", "b"], ROWS, b=draw(8)),
    fused("FastGelu", ["x", "b"], ROWS, b=draw(8)),
    fused("QuickGelu", ["x"], alpha=1.5),
    fused("SkipLayerNormalization", ["x", "s", "g", "b", "c"], ROWS, s=draw(3, 5, 8), g=draw(8), b=draw(8), c=draw(8),
          epsilon=1e-3),
    Case("SkipLayerNormalization", ROWS,
         [node("SkipLayerNormalization", ["x", "x", "g", "b"], ["n", "", "", "sum"], OWN),
          node("Add", ["n", "sum"], ["y"])],
         {"g": draw(8), "b": draw(8)}),
]  # fmt: skip


def model_of(case: Case) -> ModelProto:
    graph = helper.make_graph(
        case.nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, case.x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in case.weights.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(OWN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def test_every_rule_has_a_case() -> None:
    assert {(case.domain, case.op) for case in CASES} == set(RULES)


@pytest.mark.parametrize("case", CASES, ids=[case.op for case in CASES])
def test_it_says_the_same(case: Case) -> None:
    model = model_of(case)
    (want,) = OnnxSession(model.SerializeToString(), CPU).run({"x": case.x})
    to_plain_operators(model)
    assert {each.domain for each in model.graph.node} == {""}
    assert not any("QLinear" in each.op_type for each in model.graph.node)
    (got,) = OnnxSession(model.SerializeToString(), CPU).run({"x": case.x})
    step = float(case.weights["ys"]) if "ys" in case.weights else 0.0  # a rounding may fall to either side
    assert want.std() > 0
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1.01 * step + 1e-5)
    assert np.abs(got - want).mean() <= 0.05 * step + 1e-5


def test_scales_in_constant_nodes_are_known() -> None:
    case = CASES[0]
    constants = [
        node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value)))
        for name, value in case.weights.items()
    ]
    model = model_of(case._replace(nodes=[*constants, *case.nodes], weights={}))
    (want,) = OnnxSession(model.SerializeToString(), CPU).run({"x": case.x})
    to_plain_operators(model)
    assert "QLinearConv" not in {each.op_type for each in model.graph.node}
    (got,) = OnnxSession(model.SerializeToString(), CPU).run({"x": case.x})
    assert want.std() > 0
    np.testing.assert_allclose(got, want, atol=1.01 * 0.05 + 1e-5)


@pytest.mark.parametrize("inputs", [
    ["xq", "xs", "xz", "w", "unknown", "wz", "ys", "yz", "b"], ["xq"], [],
])  # fmt: skip
def test_operators_that_cannot_be_read_stay(inputs: list[str]) -> None:
    case = CASES[0]
    assert (case.nodes[1].op_type, len(case.nodes[1].input)) == ("QLinearConv", 9)
    nodes = [case.nodes[0], node("QLinearConv", inputs, ["yq"]), case.nodes[2]]
    model = model_of(case._replace(nodes=nodes))
    to_plain_operators(model)
    assert [each.op_type for each in model.graph.node] == [each.op_type for each in nodes]


def test_others_stay(tmp_path: Any) -> None:
    model = model_of(Case("Relu", MAP, [node("Relu", ["x"], ["y"]), node("Sin", ["x"], ["z"], OWN)], {}))
    before = model.SerializeToString(deterministic=True)
    to_plain_operators(model)
    assert model.SerializeToString(deterministic=True) == before


def test_a_network_arranged_for_one_processor_says_so(tmp_path: Path) -> None:
    weights = {
        "a": np.full((32, 3, 3, 3), 0.1),
        "b": np.full((32, 32, 3, 3), 0.1),
        "c": np.full((32, 5), 0.1),
    }
    nodes = [
        node("Conv", ["x", "a"], ["m"]),
        node("Conv", ["m", "b"], ["n"]),
        node("GlobalAveragePool", ["n"], ["p"]),
    ]
    nodes += [node("Flatten", ["p"], ["f"]), node("MatMul", ["f", "c"], ["out"])]
    plain = save(
        tmp_path / "net.onnx", nodes, {name: value.astype(np.float32) for name, value in weights.items()}
    )
    assert not is_for_one_processor(onnx.load(plain))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fast.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(plain, options, providers=["CPUExecutionProvider"])
    if not is_for_one_processor(onnx.load(tmp_path / "fast.onnx")):
        pytest.skip("onnxruntime blocks no channels on this processor")
    _, notes = import_model(tmp_path / "fast.onnx")
    assert any("arranged it for one kind of processor" in note for note in notes)
    assert not any("arranged" in note for note in import_model(plain)[1])
