"""Where a network can be taken apart: the tensors that every path crosses, and what its classifier reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from onnx import ModelProto, NodeProto

from models.graph import needed, producers, reads, varying
from models.layout import Layouts
from models.names import LOGITS

LAYERS = ("Conv", "Gemm", "MatMul", "FusedConv", "FusedGemm", "FusedMatMul")
JOINS = ("Concat", "Add", "Sum", "Mean")
PASSES_ON = ("Identity", "Cast", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose")
# Behind a layer that reads the same as the layers beside it: a scale and a shift of each channel.
_RESCALES = ("BatchNormalization", "Mul", "Add", "Sub", "Div")
_MIXES = ("Add", "Sum", "Mean")
# What may stand between the layer that makes scores and the logits.
_AFTER_LAYERS = (
    *PASSES_ON, *_RESCALES, *_MIXES, "Relu", "Clip", "Max", "Min", "Sigmoid", "Softmax", "LogSoftmax", "Log", "Neg",
    "Slice", "GlobalAveragePool", "GlobalMaxPool", "AveragePool", "MaxPool", "ReduceMean", "ReduceMax",
    "QuantizeLinear", "DequantizeLinear",
)  # fmt: skip


def crossings(model: ModelProto, outputs: Sequence[str]) -> list[str]:
    """The tensors that every path from the image to `outputs` crosses, in order, without those two ends."""
    graph = model.graph
    depends, wanted = varying(graph), needed(graph, outputs)
    nodes = [node for i, node in enumerate(graph.node) if i in wanted and depends.intersection(node.output)]
    left = Counter(name for node in nodes for name in set(reads(node)) if name in depends)
    left.update(outputs)
    # What has been computed and will be read: one tensor alone has to hold all that is known of the image.
    live = {value.name for value in graph.input if left[value.name]}
    crossed = []
    for node in nodes:  # in topological order, as ONNX demands
        for name in set(reads(node)) & depends:
            left[name] -= 1
            if not left[name]:
                live.discard(name)
        live.update(name for name in node.output if left[name])
        if len(live) == 1 and (only := next(iter(live))) in node.output and only not in outputs:
            crossed.append(only)
    return crossed


def is_layer(node: NodeProto, depends: set[str]) -> bool:
    """Whether a node multiplies what it reads with weights."""
    return node.op_type in LAYERS and sum(name in depends for name in node.input) == 1


def behind_layers(model: ModelProto) -> set[str]:
    """The tensors that depend on a layer; what stands before the first one is preprocessing."""
    depends, behind = varying(model.graph), set[str]()
    for node in model.graph.node:  # in topological order, as ONNX demands
        if is_layer(node, depends) or not behind.isdisjoint(node.input):
            behind.update(name for name in node.output if name)
    return behind


def layer_inputs(model: ModelProto, layouts: Layouts) -> set[str]:
    """What each layer reads, followed back through what only hands it on."""
    made, depends = producers(model.graph), varying(model.graph)
    layers = [node for node in model.graph.node if is_layer(node, depends)]
    return {
        _origin(name, made, depends, layouts, PASSES_ON)
        for layer in layers
        for name in layer.input
        if name in depends
    }


def last_layers(model: ModelProto, goal: str = LOGITS) -> list[NodeProto]:
    """The layers that make `goal`: one, several whose results are added, or none that can be found."""
    made, depends = producers(model.graph), varying(model.graph)
    layers: list[NodeProto] = []
    waiting = [goal]
    while waiting:
        node = made.get(waiting.pop())
        if node is None:
            return []
        if is_layer(node, depends):
            layers.append(node)
            continue
        inputs = list(dict.fromkeys(name for name in node.input if name in depends))
        if node.op_type not in _AFTER_LAYERS or (len(inputs) != 1 and node.op_type not in _MIXES):
            return []
        waiting.extend(reversed(inputs))
    return layers


def classifier_inputs(model: ModelProto, layouts: Layouts, goal: str = LOGITS) -> tuple[str, ...]:
    """What the last layers read: one tensor as a rule, as many as there are heads that read different ones.

    It is followed back through what only hands it on, as far as it stays a vector or a map.
    """
    made, depends = producers(model.graph), varying(model.graph)
    layers = last_layers(model, goal)
    read = [next(name for name in layer.input if name in depends) for layer in layers]
    origins = dict.fromkeys(_origin(name, made, depends, layouts, PASSES_ON) for name in read)
    if len(origins) > 1:
        shared = {_origin(name, made, depends, layouts, (*PASSES_ON, *_RESCALES)) for name in read}
        origins = dict.fromkeys(shared) if len(shared) == 1 else origins
    return tuple(name for name in origins if name in made)


def _origin(
    name: str, made: dict[str, NodeProto], depends: set[str], layouts: Layouts, through: Sequence[str]
) -> str:
    while name in made and made[name].op_type in through:
        sources = [source for source in made[name].input if source in depends]
        if len(sources) != 1 or sources[0] not in made:
            break
        # A map that is laid out in a row is not its mean: that is as far as a vector goes back.
        kinds = [(each in layouts.places, each in layouts.vectors) for each in (name, sources[0])]
        if kinds[0] != kinds[1] or not any(kinds[0]):
            break
        name = sources[0]
    return name


def is_pooled(name: str, made: dict[str, NodeProto], layouts: Layouts) -> bool:
    """Whether a tensor is a vector that one node makes of a map, place by place."""
    node = made[name]
    if name not in layouts.vectors or node.op_type.startswith("Global"):
        return name in layouts.vectors
    pools = "Pool" in node.op_type or node.op_type in ("ReduceMean", "ReduceMax")
    return pools and node.input[0] in layouts.places
