"""Small tools on ONNX graphs: who makes a tensor, who reads it, what its shape is, how to rename it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, version_converter

from models.errors import ModelError
from models.opset import OPSET


def producers(graph: GraphProto) -> dict[str, NodeProto]:
    """Tensor name -> the node that makes it."""
    return {name: node for node in graph.node for name in node.output if name}


def reads(node: NodeProto) -> Iterator[str]:
    """Every tensor that a node needs, those inside its branches and loop bodies included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for body in [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs:
            for inner in body.node:
                yield from reads(inner)


def reader_counts(graph: GraphProto) -> Counter[str]:
    """How often each tensor is read, as an output of the network too."""
    counts = Counter(name for node in graph.node for name in reads(node))
    counts.update(value.name for value in graph.output)
    return counts


def needed(graph: GraphProto, outputs: Iterable[str]) -> set[int]:
    """Positions of the nodes on which `outputs` depend."""
    positions = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    wanted: set[int] = set()
    waiting = list(outputs)
    while waiting:
        position = positions.get(waiting.pop())
        if position is not None and position not in wanted:
            wanted.add(position)
            waiting.extend(reads(graph.node[position]))
    return wanted


def varying(graph: GraphProto) -> set[str]:
    """The tensors that depend on what is fed, and not on its shape alone."""
    names = set(input_names(graph))
    for node in graph.node:  # in topological order, as ONNX demands
        if node.op_type not in ("Shape", "Size") and not names.isdisjoint(reads(node)):
            names.update(name for name in node.output if name)
    return names


def prune(graph: GraphProto, outputs: Iterable[str]) -> None:
    """Drop the nodes and the weights that none of `outputs` depends on."""
    wanted = set(outputs)
    keep = needed(graph, wanted)
    nodes = [node for i, node in enumerate(graph.node) if i in keep]
    used = {name for node in nodes for name in reads(node)} | wanted
    for i in reversed(range(len(graph.initializer))):  # in place: the weights are not copied
        if graph.initializer[i].name not in used:
            del graph.initializer[i]
    del graph.node[:]
    graph.node.extend(nodes)


def rename(graph: GraphProto, old: str, new: str) -> None:
    """Give a tensor another name wherever it stands."""
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        if value.name == old:
            value.name = new
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new
        for attribute in node.attribute:
            for body in [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs:
                rename(body, old, new)


def input_names(graph: GraphProto) -> list[str]:
    """What is fed to a network: its inputs without the weights, which files of IR version 3 list among them."""
    weights = {value.name for value in graph.initializer}
    return [value.name for value in graph.input if value.name not in weights]


def shape_of(value: ValueInfoProto) -> tuple[int, ...]:
    """Sizes of a tensor, -1 where they are not fixed."""
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)


def element_type(value: ValueInfoProto) -> int:
    """The tensor's ONNX element type."""
    return int(value.type.tensor_type.elem_type)


def infer(model: ModelProto) -> dict[str, ValueInfoProto]:
    """Name -> type and shape of every tensor whose shape can be inferred."""
    inferred = onnx.shape_inference.infer_shapes(without_weights(model)).graph
    return {v.name: v for v in (*inferred.input, *inferred.value_info, *inferred.output)}


def without_weights(model: ModelProto) -> ModelProto:
    """The same graph with weights that have shapes only: inference reads no values but those of sizes and axes."""
    graph = model.graph
    weights = [
        TensorProto(name=value.name, dims=value.dims, data_type=value.data_type)
        if math.prod(value.dims) > 1024
        else value
        for value in graph.initializer
    ]
    bare = GraphProto(
        name=graph.name,
        node=graph.node,
        initializer=weights,
        input=graph.input,
        output=graph.output,
        value_info=graph.value_info,
    )
    return ModelProto(
        ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions, graph=bare
    )


def opset_of(model: ModelProto) -> int:
    """The opset that the model declares; ours where it declares none."""
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), OPSET)


def copied(model: ModelProto) -> ModelProto:
    """A copy; of large networks `copy.deepcopy` makes one in minutes."""
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def lifted(model: ModelProto, opset: int = OPSET) -> ModelProto:
    """A copy of `model`, lifted to `opset`; one of that opset or a newer one stays as it is.

    Raises:
        ModelError: the converter lacks an operator.
    """
    if opset_of(model) >= opset:
        return copied(model)
    try:
        return version_converter.convert_version(model, opset)
    except Exception as exc:  # the converter raises RuntimeError and its own
        raise ModelError(
            f"the network has opset {opset_of(model)} and cannot be converted to {opset} ({exc}). Export it again with "
            "a later opset."
        ) from exc


def weight_names(graph: GraphProto) -> set[str]:
    """Names of constants: initializers, and what a Cast, an Identity or a Constant node makes of them."""
    names = {value.name for value in graph.initializer}
    for node in graph.node:  # in topological order, as ONNX demands
        constant = node.op_type == "Constant"
        if constant or (node.op_type in ("Cast", "Identity") and node.input[0] in names):
            names.update(node.output)
    return names


FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
