"""Operators of onnxruntime's own, and integer ones, in terms of standard ONNX, which the graph can read.

Files that onnxruntime optimised hold fused operators; files in its QOperator format integer ones, which become the same
operators between QuantizeLinear and DequantizeLinear. onnxruntime fuses them again when it loads the network. Source:
onnxruntime's docs/ContribOperators.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from models.nodes import Nodes

OLDEST = 17  # opset that has all operators written here
_OWN = "com.microsoft"
_MICROSOFT_GELU = 1.702  # the factor of QuickGelu where the file does not say
# What rules raise for a scale that is not known before the network runs, and for a node that onnxruntime refuses.
_UNREADABLE = (KeyError, ValueError, IndexError, TypeError, AttributeError)
_Rule = Callable[["_Writer", NodeProto, dict[str, Any]], None]


def to_plain_operators(model: ModelProto) -> None:
    """Replace operators that have an equal in standard ONNX, in place; others stay."""
    graph, constants = model.graph, _constants(model.graph)
    nodes: list[NodeProto] = []
    made = Counter[str]()  # how often a tensor has been made real numbers
    for number, node in enumerate(graph.node):
        rule = RULES.get((node.domain, node.op_type))
        if rule is None:
            nodes.append(node)
            continue
        writer = _Writer(f"plain/{number}/", constants, made)
        try:
            rule(writer, node, {a.name: helper.get_attribute_value(a) for a in node.attribute})
        except _UNREADABLE:
            nodes.append(node)
            continue
        nodes.extend(writer.nodes)
        graph.initializer.extend(writer.weights)
    del graph.node[:]
    graph.node.extend(nodes)


def is_for_one_processor(model: ModelProto) -> bool:
    """Whether onnxruntime blocked the channels of a network, as suits the processor that it was on (ORT_ENABLE_ALL).

    How many of them stand in a block is not said in the file, so it cannot be undone.
    """
    return any(node.domain == "com.microsoft.nchwc" for node in model.graph.node)


FOR_ONE_PROCESSOR = (
    "onnxruntime arranged it for one kind of processor (ORT_ENABLE_ALL): it can be run, and its inner layers cannot be "
    "read, for features, heat maps or fine-tuning. Take the network as it was exported, or optimise it with "
    "ORT_ENABLE_EXTENDED"
)


def _constants(graph: GraphProto) -> dict[str, np.ndarray]:
    """Arrays that the file itself holds, by name, but for large ones."""
    tensors = {weight.name: weight for weight in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            values = (attribute.t for attribute in node.attribute if attribute.name == "value")
            tensors.update(zip(node.output, values, strict=False))
    return {name: numpy_helper.to_array(each) for name, each in tensors.items() if _small(each.dims)}


def _small(dims: Any) -> bool:
    return int(np.prod(dims, dtype=np.int64)) <= 2**20


class _Writer(Nodes):
    """The nodes in place of one."""

    def __init__(self, prefix: str, constants: dict[str, np.ndarray], made: Counter[str]) -> None:
        super().__init__(prefix)
        self._constants, self._made = constants, made

    def real(self, x: str, scale: str, zero: str, axis: int = 0) -> str:
        """Integers as the real numbers that they stand for; `axis`: along which there is a scale each."""
        # One for each reader: onnxruntime fuses them with it again.
        self._made[x] += 1
        name = f"{x}/real" if self._made[x] == 1 else f"{x}/real_{self._made[x]}"
        options: dict[str, Any] = {"axis": axis} if self._constants[scale].size > 1 else {}
        return self.add("DequantizeLinear", x, scale, zero, output=name, **options)

    def rounded(self, x: str, scale: str, zero: str, output: str) -> None:
        """Real numbers as integers."""
        self.add("QuantizeLinear", x, scale, zero, output=output)

    def product(self, a: str, b: str) -> str:
        """The scale of what is summed, of those of the factors: a bias has it."""
        return self.constant("bias_scale", self._constants[a] * self._constants[b])


def _conv(write: _Writer, node: NodeProto, options: dict[str, Any]) -> None:
    x, xs, xz, w, ws, wz, ys, yz, *bias = node.input
    inputs = [write.real(x, xs, xz), write.real(w, ws, wz)]
    if bias and bias[0]:
        inputs.append(write.add("DequantizeLinear", bias[0], write.product(xs, ws), axis=0))
    write.rounded(write.add("Conv", *inputs, **options), ys, yz, node.output[0])


def _matmul(write: _Writer, node: NodeProto, options: dict[str, Any]) -> None:
    a, a_s, az, b, bs, bz, ys, yz = node.input
    y = write.add("MatMul", write.real(a, a_s, az), write.real(b, bs, bz, axis=1))
    write.rounded(y, ys, yz, node.output[0])


def _gemm(write: _Writer, node: NodeProto, options: dict[str, Any]) -> None:
    a, a_s, az, b, bs, bz, *rest = node.input
    c, ys, yz = [*rest, "", "", ""][:3]
    inputs = [write.real(a, a_s, az), write.real(b, bs, bz, axis=0 if options.get("transB") else 1)]
    if c:
        inputs.append(write.add("DequantizeLinear", c, write.product(a_s, bs), axis=0))
    if ys:
        write.rounded(write.add("Gemm", *inputs, **options), ys, yz, node.output[0])
    else:
        write.add("Gemm", *inputs, output=node.output[0], **options)


def _two(op: str) -> _Rule:
    def rule(write: _Writer, node: NodeProto, options: dict[str, Any]) -> None:
        a, a_s, az, b, bs, bz, ys, *zero = node.input
        y = write.add(op, write.real(a, a_s, az), write.real(b, bs, bz))
        write.rounded(y, ys, zero[0] if zero else "", node.output[0])

    return rule


def _one(op: str, *dropped: str) -> _Rule:
    def rule(write: _Writer, node: NodeProto, options: dict[str, Any]) -> None:
        x, xs, xz, ys, *zero = node.input
        x = write.real(x, xs, xz)
        last = bool(options.pop("channels_last", 0))
        kept = {key: value for key, value in options.items() if key not in dropped}
        x = write.add("Transpose", x, perm=[0, 3, 1, 2]) if last else x
        y = write.add(op, x, **kept)
        y = write.add("Transpose", y, perm=[0, 2, 3, 1]) if last else y
        write.rounded(y, ys, zero[0] if zero else "", node.output[0])

    return rule


def _concat(write: _Writer, node: NodeProto, options: dict[str, Any]) -> None:
    ys, yz, *parts = node.input
    inputs = [write.real(*parts[i : i + 3]) for i in range(0, len(parts), 3)]
    write.rounded(write.add("Concat", *inputs, **options), ys, yz, node.output[0])


def _activated(write: _Writer, y: str, options: dict[str, Any], output: str) -> None:
    """The activation that a fused operator ends in."""
    name, numbers = options["activation"].decode(), list(options.get("activation_params", ()))
    # FusedConv has its numbers in a list, FusedGemm each under its name.
    numbers = numbers or [
        options[f"activation_{n}"] for n in ("alpha", "beta") if f"activation_{n}" in options
    ]
    if name == "Clip":
        bounds = [write.constant(str(i), number) for i, number in enumerate(numbers)]
        write.add("Clip", y, *bounds, output=output)
    else:
        named = dict(zip(("alpha", "beta"), numbers, strict=False)) if name in _WITH_ALPHA else {}
        write.add(name, y, output=output, **named)


_WITH_ALPHA = ("LeakyRelu", "HardSigmoid", "Elu")


def _fused_layer(op: str) -> _Rule:
    def rule(write: _Writer, node: NodeProto, options: dict[str, Any]) -> None:
        plain = {key: value for key, value in options.items() if not key.startswith("activation")}
        inputs = list(node.input)
        added = inputs.pop() if op == "Conv" and len(inputs) == 4 else ""
        while inputs and not inputs[-1]:
            inputs.pop()
        y = write.add(op, *inputs, **plain)
        y = write.add("Add", y, added) if added else y
        if options.get("activation"):
            _activated(write, y, options, node.output[0])
        else:
            write.add("Identity", y, output=node.output[0])

    return rule


def _fused_matmul(write: _Writer, node: NodeProto, options: dict[str, Any]) -> None:
    """Of stacks of matrices of any rank, transposed or not: letters need not know it."""
    a, b = ("ji" if options.get("transA") else "ij"), ("kj" if options.get("transB") else "jk")
    if (a, b) == ("ij", "jk"):
        y = write.add("MatMul", *node.input)
    else:
        y = write.add("Einsum", *node.input, equation=f"...{a},...{b}->...ik")
    write.add("Mul", y, write.constant("alpha", options.get("alpha", 1.0)), output=node.output[0])


def _gelu(approximate: str) -> _Rule:
    def rule(write: _Writer, node: NodeProto, options: dict[str, Any]) -> None:
        x = node.input[0]
        if len(node.input) > 1 and node.input[1]:
            x = write.add("Add", x, node.input[1])
        half = write.add("Mul", x, write.constant("half", 0.5))
        if approximate == "none":
            inner = write.add("Erf", write.add("Mul", x, write.constant("root", np.sqrt(0.5))))
        else:
            cube = write.add("Mul", write.add("Mul", x, x), x)
            bent = write.add("Add", x, write.add("Mul", cube, write.constant("bend", 0.044715)))
            inner = write.add("Tanh", write.add("Mul", bent, write.constant("root", np.sqrt(2 / np.pi))))
        write.add("Mul", half, write.add("Add", inner, write.constant("one", 1.0)), output=node.output[0])

    return rule


def _quick_gelu(write: _Writer, node: NodeProto, options: dict[str, Any]) -> None:
    x = node.input[0]
    factor = write.constant("alpha", options.get("alpha", _MICROSOFT_GELU))
    write.add("Mul", x, write.add("Sigmoid", write.add("Mul", x, factor)), output=node.output[0])


def _skip_layer_norm(write: _Writer, node: NodeProto, options: dict[str, Any]) -> None:
    x, skip, gamma, *rest = node.input
    beta, bias = [*rest, "", ""][:2]
    total = node.output[3] if len(node.output) > 3 and node.output[3] else None
    inner = write.add("Add", x, bias) if bias else x
    y = write.add("Add", inner, skip, output=total)
    inputs = [y, gamma, *([beta] if beta else [])]
    write.add(
        "LayerNormalization", *inputs, output=node.output[0], axis=-1, epsilon=options.get("epsilon", 1e-5)
    )


RULES: dict[tuple[str, str], _Rule] = {
    ("", "QLinearConv"): _conv,
    ("", "QLinearMatMul"): _matmul,
    (_OWN, "QGemm"): _gemm,
    (_OWN, "QLinearAdd"): _two("Add"),
    (_OWN, "QLinearMul"): _two("Mul"),
    (_OWN, "QLinearConcat"): _concat,
    (_OWN, "QLinearGlobalAveragePool"): _one("GlobalAveragePool"),
    (_OWN, "QLinearAveragePool"): _one("AveragePool"),
    (_OWN, "QLinearSigmoid"): _one("Sigmoid"),
    (_OWN, "QLinearLeakyRelu"): _one("LeakyRelu"),
    (_OWN, "QLinearSoftmax"): _one("Softmax", "opset"),
    (_OWN, "FusedConv"): _fused_layer("Conv"),
    (_OWN, "FusedGemm"): _fused_layer("Gemm"),
    (_OWN, "FusedMatMul"): _fused_matmul,
    (_OWN, "Gelu"): _gelu("none"),
    (_OWN, "BiasGelu"): _gelu("none"),
    (_OWN, "FastGelu"): _gelu("tanh"),
    (_OWN, "QuickGelu"): _quick_gelu,
    (_OWN, "SkipLayerNormalization"): _skip_layer_norm,
}
