"""Where the blocks begin that are trained when nobody says where."""

from __future__ import annotations

from onnx import ModelProto

from models.anatomy import behind_layers, crossings, is_layer
from models.errors import CutError
from models.features import default_cuts
from models.graph import needed, varying
from models.layout import layouts_of
from models.truncation import list_cuts


def uppermost_blocks(model: ModelProto) -> str:
    """The last cut point with places behind which there are still layers to train before the classifier's input.

    Where each block reads the two before it, as in NASNet, no cut point is such a place: then it is the last tensor
    behind the first layer that every path crosses.

    Raises:
        CutError: the network has no such place.
    """
    (end, *_) = default_cuts(model)
    above, places = needed(model.graph, [end]), layouts_of(model).places
    depends, crossed = varying(model.graph), crossings(model, [end])
    behind = behind_layers(model)
    cuts = [cut.name for cut in list_cuts(model) if cut.name in crossed]
    for name in (*reversed(cuts), *(name for name in reversed(crossed) if name in behind)):
        between = above - needed(model.graph, [name])
        if name in places and any(is_layer(model.graph.node[i], depends) for i in between):
            return name
    raise CutError(
        "no place was found above which blocks could be trained. Name one with --unfreeze; `graft models cuts` lists "
        "them. Or use --method head."
    )
