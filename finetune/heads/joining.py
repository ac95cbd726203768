"""Puts a trained top behind the frozen trunk of a network: one model again, from bytes to classes."""

from __future__ import annotations

import dataclasses

from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

from models.card import ModelCard, write_card
from models.errors import GraphError
from models.graph import element_type, lifted, opset_of, prune, rename, shape_of
from models.truncation import cut_model


def join(trunk: ModelProto, top: ModelProto, at: str, card: ModelCard | None = None) -> ModelProto:
    """`trunk` up to its tensor `at`, and `top`, which takes that as its one input, as one model.

    It has the inputs of the trunk and the outputs of the top, and keeps the names of both. `card` becomes its card,
    with those of its cut points that are there; without one the model has none, since the trunk's would be wrong.
    As everywhere, maps of 1 x 1 pixel are vectors at a cut.

    Raises:
        CutError: the trunk has no tensor `at`.
        GraphError: the top has several inputs, or another one than the trunk gives.
        ModelError: the two cannot be brought to one opset.
    """
    opset = max(opset_of(trunk), opset_of(top))
    joined, upper = cut_model(lifted(trunk, opset), [at]), lifted(top, opset)
    _require_fit(joined.graph.output[0], list(upper.graph.input))
    outputs = [value.name for value in upper.graph.output]
    taken = tensor_names(joined.graph) | tensor_names(upper.graph)
    for name in sorted(tensor_names(joined.graph) & tensor_names(upper.graph)):
        if name in outputs:
            rename(joined.graph, name, free_name(f"trunk/{name}", taken))
        elif name != upper.graph.input[0].name:
            rename(upper.graph, name, free_name(f"top/{name}", taken))
    nodes = {node.name for node in joined.graph.node if node.name}
    for node in upper.graph.node:  # onnxruntime refuses two of one name
        if node.name in nodes:
            node.name = free_name(f"top/{node.name}", nodes)
    rename(upper.graph, upper.graph.input[0].name, joined.graph.output[0].name)
    joined.graph.node.extend(upper.graph.node)
    joined.graph.initializer.extend(upper.graph.initializer)
    joined.graph.value_info.extend(upper.graph.value_info)
    del joined.graph.output[:], joined.metadata_props[:]
    joined.graph.output.extend(upper.graph.output)
    domains = {entry.domain for entry in joined.opset_import}
    joined.opset_import.extend(entry for entry in upper.opset_import if entry.domain not in domains)
    joined.ir_version = max(joined.ir_version, upper.ir_version)
    prune(joined.graph, outputs)
    if card is not None:
        made = {name for node in joined.graph.node for name in node.output}
        write_card(
            joined, dataclasses.replace(card, cuts=tuple(cut for cut in card.cuts if cut.name in made))
        )
    return joined


def free_name(name: str, taken: set[str]) -> str:
    """`name`, or one like it: a trunk that was joined before has such names already. It is taken from now on."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}.{number}"
    taken.add(free)
    return free


def tensor_names(graph: GraphProto) -> set[str]:
    """Names of all tensors of a graph: inputs, weights and what its nodes make."""
    values = (*graph.input, *graph.initializer)
    return {value.name for value in values} | {name for node in graph.node for name in node.output if name}


def _require_fit(given: ValueInfoProto, inputs: list[ValueInfoProto]) -> None:
    """The top takes what the trunk gives, as far as both say."""
    if len(inputs) != 1:
        raise GraphError(
            f"the top has the inputs {', '.join(v.name for v in inputs) or 'none'}; expected just one."
        )
    have, want = shape_of(given), shape_of(inputs[0])
    known = given.type.tensor_type.HasField("shape")
    fits = len(have) == len(want) and all(
        a == b or -1 in (a, b) for a, b in zip(have[1:], want[1:], strict=True)
    )
    if (known and not fits) or element_type(given) != element_type(inputs[0]):
        raise GraphError(
            f"the trunk gives {given.name}, {_describe(given)}; the top takes {inputs[0].name}, "
            f"{_describe(inputs[0])}. Cut where the top was imported from."
        )


def _describe(value: ValueInfoProto) -> str:
    return f"{TensorProto.DataType.Name(element_type(value)).lower()} {list(shape_of(value))}"
