"""Detectors, segmenters and the like: networks that say something of places on an image, not of the image as a whole.

Their outputs are no features: taken for some, boxes would be pooled and classified without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto

from models.anatomy import PASSES_ON
from models.errors import ModelError
from models.graph import producers
from models.import_options import ImportOptions

# What torchvision, TensorFlow's Object Detection API, Caffe's SSD, DETR, mmdetection and TensorRT call such outputs.
_NAMES = re.compile(
    r"(?:.*[_./:-])?(?:(?:pred_|b|detection_|nmsed_)?box(?:es)?|(?:detection_|nmsed_)(?:scores|classes|out|masks)|"
    r"num_det(?:ection)?s|dets|mbox_\w+|(?:pred_)?masks|keypoints)(?:[_./:-]?\d*)"
)
_SUPPRESSES = ("NonMaxSuppression", "NMS")  # in names of operators
# Ultralytics' `task`, in a file's metadata. Source: ultralytics/engine/exporter.py.
_ULTRALYTICS = {
    "detect": "a detector",
    "segment": "a segmenter",
    "pose": "a detector of poses",
    "obb": "a detector of turned boxes",
}
_STRIDES = (8, 16, 32, 64, 128)  # of the maps that detectors place boxes on
_ANCHORS = (1, 3)  # boxes a place
_BOX = 4  # numbers that a box has
_FOUND = (6, 7)  # numbers that a box has with class and score, and with the image's index
_SMALL = 64  # pixels a side below which classifiers may keep large maps


def refuse_by_name(
    model: ModelProto, metadata: Mapping[str, str], options: ImportOptions, path: Path
) -> None:
    """Refuse a network that says itself that it finds things on images, unless an output or a task was asked for.

    Raises:
        ModelError: its metadata, the names of its outputs or an operator say so.
    """
    if options.task is not None or options.output_name is not None:
        return
    if (kind := _ULTRALYTICS.get(metadata.get("task", ""))) is not None:
        raise ModelError(_refusal(path, kind, f"its metadata says task {metadata['task']!r}"))
    names = [value.name for value in model.graph.output if _NAMES.fullmatch(value.name.casefold())]
    if names:
        raise ModelError(
            _refusal(path, "a detector or segmenter", f"its outputs are called {', '.join(names[:4])}")
        )
    for node in model.graph.node:
        if any(word in node.op_type for word in _SUPPRESSES):
            raise ModelError(_refusal(path, "a detector", f"it ends in {node.op_type}, which picks boxes"))


def refuse_by_shape(
    model: ModelProto, outputs: Mapping[str, NDArray[Any]], size: tuple[int, int], path: Path
) -> None:
    """Refuse a network whose outputs, by name for some images of `size`, are boxes, or values for each place.

    Raises:
        ModelError: they have the shapes of a detector's, or a segmenter's.
    """
    shapes = {name: value.shape for name, value in outputs.items()}
    for kind, evidence in _evidence(model, shapes, size):
        raise ModelError(_refusal(path, kind, evidence))


def _evidence(
    model: ModelProto, shapes: Mapping[str, tuple[int, ...]], size: tuple[int, int]
) -> Iterator[tuple[str, str]]:
    """What a network is by its outputs, and why; nothing where they may well be features."""
    rows = {name: shape for name, shape in shapes.items() if len(shape) == 3}
    places = _places(size)
    for name, (_, first, second) in rows.items():
        shape = shapes[name]
        if first in places or second in places:
            count = first if first in places else second
            yield "a detector", f"output {name} is {list(shape)}, {count:,} boxes on a grid"
        if _BOX in (first, second) and any(
            other != name and rows[other][1] in (first, second) for other in rows
        ):
            yield "a detector", f"output {name} is {list(shape)}, boxes, and the others have as many rows"
        if second in _FOUND and first > 1:
            yield "a detector", f"output {name} is {list(shape)}, boxes with class and score"
    for name, shape in shapes.items():
        if len(shape) == 5 and shape[-1] > _BOX:
            yield "a detector", f"output {name} is {list(shape)}, boxes on a grid"
        if len(shape) == 4 and shape[-1] in _FOUND and shape[1] == 1:
            yield "a detector", f"output {name} is {list(shape)}, boxes with class and score"
    maps = {name: shape for name, shape in shapes.items() if len(shape) == 4 and min(_sides(shape)) > 1}
    if not maps or len(maps) < len(shapes):
        return
    smallest = min(maps, key=lambda name: _sides(maps[name]))
    fine = 2 if min(size) < _SMALL else 8
    if _sides(maps[smallest])[0] * fine >= size[0]:
        yield (
            "a network for every place of an image (a segmenter, depth, another image)",
            f"output {smallest} is {list(maps[smallest])}, for images of {size[0]} x {size[1]}",
        )
    made = producers(model.graph)
    if all(_ends_in_convolution(made, name) for name in maps):
        listed = ", ".join(f"{name} {list(shape)}" for name, shape in list(maps.items())[:3])
        yield "a detector or segmenter", f"its outputs are bare convolutions: {listed}"


def _places(size: tuple[int, int]) -> set[int]:
    """How many boxes detectors give for images of a size: of the maps from the finest on, three or more of them."""
    counts, total = set[int](), 0
    for i, stride in enumerate(_STRIDES):
        total += -(-size[0] // stride) * -(-size[1] // stride)
        if i >= 2:
            counts.update(anchors * total for anchors in _ANCHORS)
    return {count for count in counts if count > 64}


def _sides(shape: tuple[int, ...]) -> tuple[int, int]:
    """The sides of a map (N, C, H, W) or (N, H, W, C): those that are nearer each other."""
    first, last = shape[2:], shape[1:3]
    return (
        (first[0], first[1])
        if abs(first[0] - first[1]) * last[1] <= abs(last[0] - last[1]) * first[1]
        else (last[0], last[1])
    )


def _ends_in_convolution(made: Mapping[str, Any], name: str) -> bool:
    while name in made and made[name].op_type in PASSES_ON:
        name = made[name].input[0]
    return name in made and made[name].op_type in ("Conv", "FusedConv", "QLinearConv")


def _refusal(path: Path, kind: str, evidence: str) -> str:
    return (
        f"{path}: looks like {kind}: {evidence}. Graft says what an image is as a whole. To use what the network has "
        f"learned for that, take it for features: `graft models import {path} --task features`, then "
        "`graft models cuts` for a place before its last layers; or name the output to read (--output-name)."
    )
