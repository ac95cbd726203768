"""A network's outputs as float tensors, whatever a converter put behind the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from models.card import Label
from models.errors import ModelError
from models.graph import FLOATS, element_type, producers
from models.guessing import Guesses

# Between the best class and an output that tells it: which input leads to it.
_TELLS_BEST = {
    **dict.fromkeys(("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "LabelEncoder"), 0),
    **dict.fromkeys(("Gather", "ArrayFeatureExtractor"), 1),
}
_BEST = ("ArgMax", "TopK")
# Inputs with scale and zero point of what an operator gives in eight bits. Source: onnxruntime's ContribOperators.md.
_SCALES = {
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QLinearAdd"), (6, 7)),
    "QGemm": (7, 8),
    **dict.fromkeys(("QLinearSoftmax", "QLinearSigmoid"), (3, 4)),
    **dict.fromkeys(("QLinearGlobalAveragePool", "QLinearAveragePool"), (3, 4)),
}
_KEEPS_SCALE = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")


@dataclass(frozen=True)
class Outputs:
    """The tensor of numbers behind each output, by the output's name, and the labels that a file gives for some."""

    tensors: dict[str, str]
    labels: dict[str, tuple[Label, ...]]

    def name(self, tensor: str) -> str:
        """What the file calls a tensor of numbers."""
        return next(name for name, behind in self.tensors.items() if behind == tensor)


def numeric_outputs(model: ModelProto, path: Path, guesses: Guesses) -> Outputs:
    """Find the numbers behind each output, and make them the network's outputs.

    A map of classes (ZipMap), the best class (ArgMax, TopK), its name, and values of eight bits are traced back.

    Raises:
        ModelError: behind none of the outputs are numbers.
    """
    graph = model.graph
    made = producers(graph)
    tensors, labels, unusable = dict[str, str](), dict[str, tuple[Label, ...]](), list[str]()
    for value in graph.output:
        tensor, what = _numbers(model, made, value)
        if tensor is None:
            unusable.append(f"{value.name} ({what})")
            continue
        zipped = made.get(value.name)
        if zipped is not None and zipped.op_type == "ZipMap":
            labels[value.name] = _zipmap_labels(zipped)
        if what and tensor not in tensors.values():
            guesses.note(f"output {value.name} is {what}: the numbers that it is made from are taken")
        tensors[value.name] = tensor
    if not tensors:
        raise ModelError(
            f"{path}: its outputs are {', '.join(unusable)}; expected numbers for each class, or features. Export it "
            "so that it gives them."
        )
    if unusable:
        guesses.note(f"left out: output {', '.join(unusable)}")
    kept = {value.name: value for value in graph.output}
    del graph.output[:]
    for tensor in dict.fromkeys(tensors.values()):
        graph.output.append(
            kept.get(tensor) or helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None)
        )
    return Outputs(tensors, labels)


def _numbers(
    model: ModelProto, made: Mapping[str, NodeProto], value: ValueInfoProto
) -> tuple[str | None, str]:
    """The tensor of numbers behind an output, and what the output is where it is something else."""
    node = made.get(value.name)
    if value.type.WhichOneof("value") == "sequence_type":
        if node is not None and node.op_type == "ZipMap":
            return node.input[0], "a map of classes"
        return None, "a list"
    scores = _behind_best(made, value.name)
    if scores is not None:
        return scores, "the best class"
    kind = element_type(value)
    if kind in (*FLOATS, TensorProto.UNDEFINED):
        return value.name, ""
    name = TensorProto.DataType.Name(kind).lower()
    if kind in (TensorProto.UINT8, TensorProto.INT8):
        return _of_bytes(model, made, value.name), f"{name} values"
    return None, name


def _behind_best(made: Mapping[str, NodeProto], name: str) -> str | None:
    """The scores of which an output tells the best class."""
    while name in made:
        node = made[name]
        if node.op_type in _BEST:
            return str(node.input[0])
        place = _TELLS_BEST.get(node.op_type)
        if place is None or place >= len(node.input):
            return None
        name = node.input[place]
    return None


def _of_bytes(model: ModelProto, made: Mapping[str, NodeProto], name: str) -> str | None:
    """What values of eight bits stand for: their own float source, or a DequantizeLinear that is put behind them."""
    node = made.get(name)
    while node is not None and node.op_type in _KEEPS_SCALE:
        node = made.get(node.input[0])
    if node is None:
        return None
    if node.op_type in ("QuantizeLinear", "Cast"):
        return str(node.input[0])
    places = _SCALES.get(node.op_type)
    if places is None or max(places) >= len(node.input):
        return None
    tensor = f"{name}/float"
    scale, zero = (node.input[place] for place in places)
    model.graph.node.append(helper.make_node("DequantizeLinear", [name, scale, zero], [tensor], name=tensor))
    return tensor


def _zipmap_labels(node: NodeProto) -> tuple[Label, ...]:
    """The classes of a ZipMap, in the order of its input."""
    for attribute in node.attribute:
        if attribute.name == "classlabels_strings" and attribute.type == AttributeProto.STRINGS:
            names = [text.decode("utf-8", "replace") for text in attribute.strings]
            return tuple(Label(name, name) for name in names)
        if attribute.name == "classlabels_int64s":
            return tuple(Label(str(number), f"class {number}") for number in attribute.ints)
    return ()
