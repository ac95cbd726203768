"""Rewrites of ONNX models that leave what they compute unchanged: constants, and layers that absorb a scale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from models.graph import prune, reads

Array = NDArray[Any]


def fold_constants(model: ModelProto) -> None:
    """Replace nodes that depend on constants alone by initializers, which have the names of their outputs."""
    graph = model.graph
    known = {value.name for value in graph.initializer}
    folded: list[NodeProto] = []
    kept: list[NodeProto] = []
    for node in graph.node:  # in topological order, as ONNX demands
        inputs = set(reads(node))
        if node.op_type == "Constant" or (inputs and inputs <= known):
            folded.append(node)
            known.update(node.output)
        else:
            kept.append(node)
    if not folded:
        return
    used = {name for node in kept for name in reads(node)} | {value.name for value in graph.output}
    wanted = [name for node in folded for name in node.output if name in used]
    values = _evaluate(model, folded, wanted)
    rest = [value for value in graph.initializer if value.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(rest)
    graph.initializer.extend(numpy_helper.from_array(values[name], name) for name in wanted)


def _evaluate(model: ModelProto, nodes: list[NodeProto], wanted: list[str]) -> dict[str, Array]:
    used = {name for node in nodes for name in reads(node)}
    weights = [value for value in model.graph.initializer if value.name in used]
    outputs = [helper.make_empty_tensor_value_info(name) for name in wanted]
    part = helper.make_model(
        helper.make_graph(nodes, "constants", [], outputs, weights),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
        functions=model.functions,
    )
    results = ReferenceEvaluator(part).run(None, {})
    return {name: np.asarray(value) for name, value in zip(wanted, results, strict=True)}


def fold_into_layers(graph: GraphProto) -> None:
    """Let convolutions and matrix products absorb constants by which their channels are scaled or shifted.

    A bias that was added behind becomes the layer's own, and so does a batch norm with fixed statistics. In Gemm
    nodes, alpha and beta are 1.
    """
    constants = {value.name: value for value in graph.initializer}
    readers = Counter(name for node in graph.node for name in reads(node))
    readers.update(value.name for value in graph.output)
    consumers = {name: node for node in graph.node for name in reads(node)}
    gone: set[str] = set()
    for layer in graph.node:
        if layer.op_type not in ("Conv", "Gemm") or not constants.keys() >= set(layer.input[1:]):
            continue
        weights, bias = _read(constants, layer)
        freed: set[str] = set()
        while readers[layer.output[0]] == 1 and (node := consumers.get(layer.output[0])) is not None:
            factors = _scale_and_shift(node, layer, constants, len(bias))
            if factors is None:
                break
            scale, shift = factors
            weights, bias = weights * _along_filters(layer, scale), bias * scale + shift
            freed.update(name for name in node.input if readers[name] == 1)
            gone.update(node.output)
            layer.output[0] = node.output[0]
        if freed:
            dtype = numpy_helper.to_array(constants[layer.input[1]]).dtype
            names = _names(layer, constants, readers, freed)
            for name, value in zip(names, (weights, bias), strict=True):
                constants[name] = numpy_helper.from_array(value.astype(dtype), name)
            layer.input[:] = [layer.input[0], *names]
    kept = [node for node in graph.node if node.op_type in ("Conv", "Gemm") or node.output[0] not in gone]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(constants.values())
    prune(graph, [value.name for value in graph.output])


def _names(
    layer: NodeProto, constants: Container[str], readers: Counter[str], freed: set[str]
) -> tuple[str, str]:
    """Names for new weights and a new bias: the weights' own, and `bias` beside it, unless others read those."""
    weights = layer.input[1]
    bias = "/".join([*weights.split("/")[:-1], "bias"])
    if readers[weights] > 1 or (bias in constants and bias not in freed):
        return f"{layer.name}/weights", f"{layer.name}/bias"
    return weights, bias


def _read(constants: dict[str, Any], layer: NodeProto) -> tuple[Array, Array]:
    """Weights and bias of a layer in float64; the bias is (F,)."""
    weights = numpy_helper.to_array(constants[layer.input[1]]).astype(np.float64)
    filters = weights.shape[_filter_axis(layer)]
    if len(layer.input) < 3:
        return weights, np.zeros(filters)
    return weights, np.broadcast_to(numpy_helper.to_array(constants[layer.input[2]]), (filters,)).astype(
        np.float64
    )


def _filter_axis(layer: NodeProto) -> int:
    if layer.op_type == "Conv":
        return 0
    return 0 if any(a.name == "transB" and a.i for a in layer.attribute) else 1


def _along_filters(layer: NodeProto, vector: Array) -> Array:
    """(F,) in a shape that stretches along the filters of the layer's weights."""
    if layer.op_type == "Conv":
        return vector[:, None, None, None]
    return vector[:, None] if _filter_axis(layer) == 0 else vector


def _scale_and_shift(
    node: NodeProto, layer: NodeProto, constants: dict[str, Any], filters: int
) -> tuple[Array, Array] | None:
    """What `node` does to the layer's output y: y * scale + shift, each (F,); None where it does something else."""
    if node.op_type not in ("Add", "Sub", "Mul", "Div"):
        return None
    left, right = node.input
    other = right if left == layer.output[0] else left
    if other not in constants or (node.op_type == "Div" and other == left):
        return None
    value = numpy_helper.to_array(constants[other]).astype(np.float64)
    channels = (filters, 1, 1) if layer.op_type == "Conv" else (filters,)
    if value.size != 1 and value.shape not in (channels, (1, *channels)):
        return None
    if value.ndim > len(channels) + 1:  # stretches the output to more axes
        return None
    vector = np.broadcast_to(value.reshape(-1), (filters,))
    ones, zeros = np.ones(filters), np.zeros(filters)
    match node.op_type:
        case "Add":
            return ones, vector
        case "Sub":
            return (ones, -vector) if other == right else (-ones, vector)
        case "Mul":
            return vector, zeros
        case _:
            return 1 / vector, zeros
