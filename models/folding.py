"""Layers of an ONNX network that absorb what scales and shifts their channels; batch norm above all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, numpy_helper

from models.graph import prune, reader_counts, reads

Array = NDArray[Any]
ABSORBED = ("Add", "Sub", "Mul", "Div", "BatchNormalization")


def batch_norm_factors(
    scale: Array, shift: Array, mean: Array, variance: Array, *, epsilon: float
) -> tuple[Array, Array]:
    """Batch norm with fixed statistics as y = factor x + offset, float64 (C,) each.

    factor = scale / sqrt(variance + epsilon) and offset = shift - mean factor.
    """
    factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    return factor, shift - mean * factor


def fold_into_layers(graph: GraphProto, absorbed: Collection[str] = ABSORBED) -> None:
    """Let convolutions and matrix products absorb nodes behind them that scale or shift their channels by constants.

    A bias that was added behind becomes the layer's own, and so does a batch norm with fixed statistics. `absorbed`:
    the operators that may go.
    """
    constants = {value.name: value for value in graph.initializer}
    readers = reader_counts(graph)
    consumers = {name: node for node in graph.node for name in reads(node)}
    gone: set[str] = set()
    for layer in graph.node:
        if not _can_absorb(layer) or not constants.keys() >= set(layer.input[1:]):
            continue
        weights, bias = _read(constants, layer)
        freed: set[str] = set()
        while readers[layer.output[0]] == 1 and (node := consumers.get(layer.output[0])) is not None:
            factors = (
                _scale_and_shift(node, layer, constants, len(bias)) if node.op_type in absorbed else None
            )
            if factors is None:
                break
            scale, shift = factors
            weights, bias = weights * _along_filters(layer, scale, weights.ndim), bias * scale + shift
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


def _can_absorb(layer: NodeProto) -> bool:
    plain = not any(a.name in ("alpha", "beta") and a.f != 1 for a in layer.attribute)
    return layer.op_type == "Conv" or (layer.op_type == "Gemm" and plain)


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


def _along_filters(layer: NodeProto, vector: Array, rank: int) -> Array:
    """(F,) in a shape that stretches along the filters of the layer's weights."""
    if layer.op_type == "Conv":
        return vector.reshape(-1, *[1] * (rank - 1))
    return vector[:, None] if _filter_axis(layer) == 0 else vector


def _scale_and_shift(
    node: NodeProto, layer: NodeProto, constants: dict[str, Any], filters: int
) -> tuple[Array, Array] | None:
    """What `node` does to the layer's output y: y * scale + shift, each (F,); None where it does something else."""
    if node.op_type == "BatchNormalization":
        if len(node.output) > 1 or not constants.keys() >= set(node.input[1:]):
            return None
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        statistics = [numpy_helper.to_array(constants[name]) for name in node.input[1:]]
        return batch_norm_factors(*statistics, epsilon=epsilon)
    left, right = node.input
    other = right if left == layer.output[0] else left
    if other not in constants or (node.op_type == "Div" and other == left):
        return None
    value = numpy_helper.to_array(constants[other]).astype(np.float64)
    spatial = len(constants[layer.input[1]].dims) - 2 if layer.op_type == "Conv" else 0
    channels = (filters, *[1] * spatial)
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
