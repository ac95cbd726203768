"""Where the blocks begin that are trained when nobody says where."""

from __future__ import annotations

from onnx import ModelProto

from models.errors import CutError
from models.features import default_cuts
from models.graph import needed, producers, reads
from models.truncation import list_cuts

_LEARNING = ("Conv", "Gemm", "MatMul")


def uppermost_blocks(model: ModelProto) -> str:
    """The last cut point of maps behind which there are still layers to train before the classifier's input.

    Raises:
        CutError: the network has no such place.
    """
    (end, *_) = default_cuts(model)
    above = needed(model.graph, [end])
    made = producers(model.graph)
    entrances = {value.name for value in model.graph.input}
    for cut in reversed(list_cuts(model)):
        if len(cut.shape) != 3 or cut.name not in made:
            continue
        between = above - needed(model.graph, [cut.name])
        nodes = [model.graph.node[i] for i in between]
        inside = {name for node in nodes for name in node.output}
        weights = {value.name for value in model.graph.initializer}
        outside = {name for node in nodes for name in reads(node)} - inside - weights - {cut.name}
        # What else is read there must be constant, and the image itself may not be among it.
        varying = {name for name in outside if _depends(model, name, entrances)}
        if not varying and any(node.op_type in _LEARNING for node in nodes):
            return cut.name
    raise CutError(
        "no place was found above which blocks could be trained. Name one with --unfreeze; `graft models cuts` lists "
        "them. Or use --method head."
    )


def _depends(model: ModelProto, name: str, entrances: set[str]) -> bool:
    return name in entrances or any(
        entrances.intersection(reads(model.graph.node[i])) for i in needed(model.graph, [name])
    )
