"""What the cut points of an imported network are called on its card."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from onnx import ModelProto

from models.anatomy import PASSES_ON, classifier_inputs, is_layer, is_pooled
from models.card import Cut
from models.graph import needed, producers, rename, varying
from models.layout import layouts_of
from models.names import LOGITS, POOL, PRE_LOGITS
from models.nodes import Nodes
from models.truncation import list_cuts


def named_cuts(model: ModelProto) -> tuple[Cut, ...]:
    """Cut points, with what the classifier reads called `pool` where that is a mean over all positions.

    In a network of features that is the last such mean, unless what follows it makes the features proper without a
    layer: a norm, or a length of 1.
    """
    cuts, layouts, made = list_cuts(model), layouts_of(model), producers(model.graph)
    outputs = [value.name for value in model.graph.output]  # users know them under their names
    read = classifier_inputs(model, layouts)
    if (
        len(read) > 1
        and len({layouts.shapes[name] for name in read}) == 1
        and layouts.vectors.issuperset(read)
    ):
        nodes = Nodes("graft/heads/")
        flat = [nodes.add("Flatten", name, axis=1) for name in read]
        nodes.add("Mean", *flat, output=PRE_LOGITS)
        nodes.append_to(model.graph)
        return (*cuts, Cut(PRE_LOGITS, (math.prod(layouts.shapes[read[0]]),)))
    candidates = read if LOGITS in made else [cut.name for cut in cuts if cut.name not in outputs]
    pooled = [name for name in candidates if is_pooled(name, made, layouts)]
    if not pooled or POOL in made or pooled[-1] in outputs:
        return cuts
    if LOGITS not in made and _is_finished(model, pooled[-1], outputs):
        return cuts
    rename(model.graph, pooled[-1], POOL)
    return tuple(dataclasses.replace(cut, name=POOL) if cut.name == pooled[-1] else cut for cut in cuts)


def _is_finished(model: ModelProto, pooled: str, outputs: Sequence[str]) -> bool:
    """Whether no layer stands behind a mean, but what changes it."""
    graph, depends = model.graph, varying(model.graph)
    behind = needed(graph, outputs) - needed(graph, [pooled])
    nodes = [graph.node[i] for i in behind if depends.intersection(graph.node[i].output)]
    return not any(is_layer(node, depends) for node in nodes) and any(
        node.op_type not in PASSES_ON for node in nodes
    )
