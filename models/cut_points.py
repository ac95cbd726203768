"""What the cut points of an imported network are called on its card."""

from __future__ import annotations

import dataclasses
import math

from onnx import ModelProto

from models.anatomy import classifier_inputs, is_pooled
from models.card import Cut
from models.graph import producers, rename
from models.layout import layouts_of
from models.names import LOGITS, POOL, PRE_LOGITS
from models.nodes import Nodes
from models.truncation import list_cuts


def named_cuts(model: ModelProto) -> tuple[Cut, ...]:
    """Cut points, with what the classifier reads called `pool` where that is a mean over all positions.

    In a network of features that is the last such mean.
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
    rename(model.graph, pooled[-1], POOL)
    return tuple(dataclasses.replace(cut, name=POOL) if cut.name == pooled[-1] else cut for cut in cuts)
