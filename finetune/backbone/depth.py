"""Where the blocks begin that are trained when nobody says where."""

from __future__ import annotations

from onnx import ModelProto

from models.anatomy import crossings, is_layer
from models.errors import CutError
from models.features import default_cuts
from models.graph import needed, varying
from models.layout import layouts_of
from models.truncation import list_cuts


def uppermost_blocks(model: ModelProto) -> str:
    """The last cut point with places behind which there are still layers to train before the classifier's input.

    Raises:
        CutError: the network has no such place.
    """
    (end, *_) = default_cuts(model)
    above, places = needed(model.graph, [end]), layouts_of(model).places
    depends, crossed = varying(model.graph), set(crossings(model, [end]))
    for cut in reversed(list_cuts(model)):
        if cut.name not in places or cut.name not in crossed:
            continue
        between = above - needed(model.graph, [cut.name])
        if any(is_layer(model.graph.node[i], depends) for i in between):
            return cut.name
    raise CutError(
        "no place was found above which blocks could be trained. Name one with --unfreeze; `graft models cuts` lists "
        "them. Or use --method head."
    )
