"""Cutting a network: everything behind the wanted tensors goes, dead weights included."""

from __future__ import annotations

import copy
import dataclasses
import difflib
from collections.abc import Sequence

from onnx import ModelProto, TensorProto, helper

from models.card import Cut, card_of, write_card
from models.errors import CutError
from models.graph import infer, producers, prune, rename, shape_of, weight_names
from models.names import PROBABILITIES


def cut_model(model: ModelProto, outputs: Sequence[str]) -> ModelProto:
    """A copy of `model` that computes just `outputs`: cut points of the card, or any other tensors.

    Maps of 1 x 1 pixel, (N, C, 1, 1), come out as vectors (N, C). The card goes along, with the cut points that
    are left.

    Raises:
        CutError: no such cut point or tensor.
    """
    cut = copy.deepcopy(model)
    known = infer(cut)
    made = producers(cut.graph)
    for name in outputs:
        if name not in made:
            raise CutError(no_such_cut(model, name))
    del cut.graph.output[:]
    for name in dict.fromkeys(outputs):
        shape = shape_of(known[name])[1:] if name in known else None
        if shape is not None and len(shape) == 3 and shape[1:] == (1, 1):
            _flatten(cut, name)
            shape = shape[:1]
        kind = known[name].type.tensor_type.elem_type if name in known else TensorProto.FLOAT
        dims = None if shape is None else ["N", *(size if size >= 0 else None for size in shape)]
        cut.graph.output.append(helper.make_tensor_value_info(name, kind, dims))
    prune(cut.graph, outputs)
    del cut.graph.value_info[:]
    _update_card(cut, outputs)
    return cut


def list_cuts(model: ModelProto) -> tuple[Cut, ...]:
    """The places where a network is usually cut, with their shapes: where branches meet, and what is pooled.

    The card's own list wins; this one is for networks that came without.
    """
    card = card_of(model)
    if card is not None and card.cuts:
        return card.cuts
    known, constants = infer(model), weight_names(model.graph)
    cuts = []
    for node in model.graph.node:
        name, source = node.output[0], node.input[0] if node.input else ""
        if name not in known or source not in known or len(shape_of(known[source])) != 4:
            continue
        joins = node.op_type in ("Concat", "Add") and not any(name in constants for name in node.input)
        if joins or node.op_type in ("GlobalAveragePool", "GlobalMaxPool", "ReduceMean"):
            shape = shape_of(known[name])[1:]
            cuts.append(Cut(name, shape[:1] if shape[1:] == (1, 1) else shape))
    return tuple(cuts)


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
        card = dataclasses.replace(card, task="features", labels=())
    write_card(model, card)


def no_such_cut(model: ModelProto, name: str) -> str:
    """The sentence for a cut point or tensor that is not there, with what is."""
    cuts = [cut.name for cut in list_cuts(model)]
    close = difflib.get_close_matches(name, [*cuts, *producers(model.graph)], 1, 0.5)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"no cut point or tensor named {name!r}; there are {', '.join(cuts) or 'none with names'}.{hint}"
