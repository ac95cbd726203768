"""Cutting a network: everything behind the wanted tensors goes, dead weights included."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Sequence

from onnx import ModelProto, TensorProto, helper

from models.anatomy import JOINS, behind_layers, classifier_inputs, crossings, is_pooled, layer_inputs
from models.card import Cut, card_of, write_card
from models.errors import CutError
from models.graph import copied, infer, producers, prune, rename, shape_of, varying
from models.layout import Layouts, layouts_of
from models.metadata import drop_entries
from models.names import PROBABILITIES
from models.sizes import batch_of, sizes_of


def cut_model(model: ModelProto, outputs: Sequence[str]) -> ModelProto:
    """A copy of `model` that computes just `outputs`: cut points of the card, or any other tensors.

    Maps of 1 x 1 pixel, (N, C, 1, 1) or (N, 1, 1, C), come out as vectors (N, C). The card goes along, with the cut
    points that are left.

    Raises:
        CutError: no such cut point or tensor.
    """
    cut = copied(model)
    drop_entries(cut)
    known, sizes, batch = infer(cut), sizes_of(cut).shapes, batch_of(cut)
    made = producers(cut.graph)
    for name in outputs:
        if name not in made:
            raise CutError(no_such_cut(model, name))
    del cut.graph.output[:]
    for name in dict.fromkeys(outputs):
        shape: tuple[int, ...] | None = sizes.get(name, shape_of(known[name]) if name in known else (-1,))
        # Windows of an image, too, may stand along the first axis: their sizes stay open.
        shape = shape[1:] if shape and shape[0] in (batch, -1) and len(shape) > 1 else None
        if shape is not None and len(shape) == 3 and (shape[1:] == (1, 1) or shape[:2] == (1, 1)):
            _flatten(cut, name)
            shape = (math.prod(shape),)
        kind = known[name].type.tensor_type.elem_type if name in known else TensorProto.FLOAT
        dims = None if shape is None else ["N", *(size if size >= 0 else None for size in shape)]
        cut.graph.output.append(helper.make_tensor_value_info(name, kind, dims))
    prune(cut.graph, outputs)
    del cut.graph.value_info[:]
    _update_card(cut, outputs)
    return cut


def list_cuts(model: ModelProto) -> tuple[Cut, ...]:
    """The places where a network is usually cut, with their shapes: those that every path crosses.

    Of them, where branches meet, what is pooled to a vector, what the classifier reads and, in a network without
    branches, what each layer reads. The card's own list wins; this one is for networks that came without.
    """
    card = card_of(model)
    if card is not None and card.cuts:
        return card.cuts
    layouts, graph = layouts_of(model), model.graph
    made, depends = producers(graph), varying(graph)
    behind = behind_layers(model)
    crossed = [name for name in crossings(model, [value.name for value in graph.output]) if name in behind]
    joins = {
        name
        for name in crossed
        if name in layouts.places
        and made[name].op_type in JOINS
        and sum(source in depends for source in made[name].input) > 1
    }
    chosen = joins | {name for name in crossed if is_pooled(name, made, layouts)}
    chosen.update(classifier_inputs(model, layouts))
    if not joins:
        chosen.update(layer_inputs(model, layouts))
    names = [
        name for name in crossed if name in chosen and (name in layouts.places or name in layouts.vectors)
    ]
    return tuple(Cut(name, _shape(name, layouts)) for name in names)


def _shape(name: str, layouts: Layouts) -> tuple[int, ...]:
    """Sizes for one image as `cut_model` gives them: vectors have one."""
    shape = layouts.shapes[name]
    return (math.prod(shape),) if name in layouts.vectors else shape


def _flatten(model: ModelProto, name: str) -> None:
    """Put a Flatten behind tensor `name` and let its output have the name."""
    inner = f"{name}/map"
    rename(model.graph, name, inner)
    node = helper.make_node("Flatten", [inner], [name], name=f"{name}/flatten", axis=1)
    position = next(i for i, other in enumerate(model.graph.node) if inner in other.output)
    model.graph.node.insert(position + 1, node)


def _update_card(model: ModelProto, outputs: Sequence[str]) -> None:
    card = card_of(model)
    if card is None:
        return
    made = producers(model.graph)
    cuts = tuple(cut for cut in card.cuts if cut.name in made)
    card = dataclasses.replace(card, cuts=cuts)
    if PROBABILITIES not in outputs:
        card = dataclasses.replace(card, task="features", labels=(), thresholds=())
    write_card(model, card)


def no_such_cut(model: ModelProto, name: str) -> str:
    """The sentence for a cut point or tensor that is not there, with what is."""
    cuts = [cut.name for cut in list_cuts(model)]
    close = difflib.get_close_matches(name, [*cuts, *producers(model.graph)], 1, 0.5)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"no cut point or tensor named {name!r}; there are {', '.join(cuts) or 'none with names'}.{hint}"
