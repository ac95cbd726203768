"""The part of an ONNX network that is imported: behind the cut, in our opset, without computed constants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, ValueInfoProto, numpy_helper

from finetune.autodiff.folding import fold_constants
from finetune.autodiff.importing.node import Rule
from finetune.autodiff.importing.rules import RULES
from finetune.autodiff.importing.sizes import settle_sizes
from finetune.autodiff.shapes import Shape
from models.errors import CutError, GraphError
from models.graph import infer, input_names, lifted, producers, prune, reads, shape_of
from models.loading import load
from models.truncation import list_cuts, no_such_cut

Array = NDArray[Any]


@dataclass(frozen=True)
class Source:
    """What is to be imported: nodes in an order in which they can run, and what they read.

    `batch`: the size to which the file fixes the batch, None where it is free. `infos`: types and shapes of the
    tensors of the whole network, as far as they can be inferred. `behind_layers`: tensors behind the first layer
    with weights; what stands before it is preprocessing. `shapes`: of tensors all of whose sizes are known but for a
    free batch.
    """

    nodes: Sequence[NodeProto]
    constants: dict[str, Array]
    infos: dict[str, ValueInfoProto]
    cut: str
    outputs: Sequence[str]
    batch: int | None
    behind_layers: frozenset[str]
    shapes: Mapping[str, Shape]

    @property
    def cut_has_rows(self) -> bool:
        """Whether the cut has a row an image, and not one a window of it."""
        shape = self.shape(self.cut)
        return shape is None or not shape or self.batch is not None or shape[0] is None

    def shape(self, name: str) -> Shape | None:
        """Sizes as far as the file tells, None where not even the rank is known."""
        if name in self.shapes:
            return self.shapes[name]
        info = self.infos.get(name)
        if info is None or not info.type.tensor_type.HasField("shape"):
            return None
        return tuple(None if size < 0 else size for size in shape_of(info))


def read_source(model: ModelProto | str | Path, cut: str | None, outputs: Sequence[str] | None) -> Source:
    """Take what lies between `cut` and `outputs` out of a network.

    Raises:
        ModelError: not an ONNX model, or one that cannot be lifted to our opset.
        CutError: no such tensors, or the outputs do not depend on the cut alone.
        GraphError: a node without a rule.
    """
    # A newer opset differs in nothing that rules look at.
    whole = lifted(model if isinstance(model, ModelProto) else load(str(model)))
    graph = whole.graph
    inputs = input_names(graph)
    if not inputs or (cut is None and len(inputs) != 1):
        raise CutError(
            f"the network's inputs are {', '.join(inputs) or 'none'}; expected one, or name a cut."
        )
    cut = cut if cut is not None else inputs[0]
    wanted = list(outputs) if outputs is not None else [value.name for value in graph.output]
    made = producers(graph)
    for name in (cut, *wanted):
        if name not in made and name not in inputs:
            raise CutError(no_such_cut(whole, name))
    fold_constants(whole)
    shapes = settle_sizes(whole)
    fold_constants(whole)
    infos = infer(whole)
    behind = _behind_layers(graph.node, {value.name for value in graph.initializer})
    _detach(whole, cut, wanted)
    nodes = _needed(whole, cut, wanted)
    _require_reached(whole, nodes, cut, wanted)
    return Source(
        nodes,
        {value.name: numpy_helper.to_array(value) for value in graph.initializer},
        infos,
        cut,
        wanted,
        _fixed_batch(infos[inputs[0]]),
        behind,
        shapes,
    )


def _fixed_batch(info: ValueInfoProto) -> int | None:
    sizes = shape_of(info)
    return sizes[0] if sizes and sizes[0] > 0 else None


def _detach(model: ModelProto, cut: str, wanted: Iterable[str]) -> None:
    """Drop what makes the cut tensor, and all else that the outputs do not need."""
    for node in model.graph.node:
        for i, name in enumerate(node.output):
            if name == cut:
                node.output[i] = ""
    prune(model.graph, wanted)
    for value in list(model.graph.output):
        if value.name not in wanted:
            model.graph.output.remove(value)


def _rule(node: NodeProto) -> Rule:
    rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if rule is None:
        name = node.name or next(iter(node.output), "")
        kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        raise GraphError(
            f"node {name!r} is a {kind}, which cannot be imported. There are rules for {', '.join(sorted(RULES))}. "
            "Cut behind the node, or export the network without it."
        )
    return rule


def _needed(model: ModelProto, cut: str, wanted: Iterable[str]) -> list[NodeProto]:
    """The nodes through which tensors flow to the outputs; those that only compute shapes are left out."""
    made = producers(model.graph)
    reached: set[str] = set()
    waiting = list(wanted)
    while waiting:
        node = made.get(waiting.pop())
        if node is not None and node.output[0] not in reached:
            reached.add(node.output[0])
            static = _rule(node).static
            waiting.extend(name for i, name in enumerate(node.input) if i not in static)
    return [node for node in model.graph.node if node.output[0] in reached]


def _require_reached(model: ModelProto, nodes: Sequence[NodeProto], cut: str, wanted: Sequence[str]) -> None:
    """The outputs depend on the cut, and on no input besides."""
    have = {
        cut,
        "",
        *(v.name for v in model.graph.initializer),
        *(name for node in nodes for name in node.output),
    }
    for node in nodes:
        static = _rule(node).static
        for i, name in enumerate(node.input):
            if name not in have and i not in static:
                raise CutError(
                    f"{', '.join(wanted)} depends on {name!r} too, which does not come out of {cut!r}. Cut where all "
                    f"paths meet: {_meeting_points(model)}."
                )
    if wanted and not any(cut in reads(node) for node in nodes) and cut not in wanted:
        raise CutError(f"{', '.join(wanted)} does not depend on {cut!r}. Cut before it.")


def _meeting_points(model: ModelProto) -> str:
    return ", ".join(cut.name for cut in list_cuts(model)) or "for example at the input"


def _behind_layers(nodes: Iterable[NodeProto], weights: set[str]) -> frozenset[str]:
    """The tensors that depend on a layer with weights."""
    behind: set[str] = set()
    for node in nodes:
        rule = RULES.get(node.op_type)
        layer = rule is not None and rule.layer and not weights.isdisjoint(node.input)
        if layer or not behind.isdisjoint(node.input):
            behind.update(node.output)
    return frozenset(behind)
