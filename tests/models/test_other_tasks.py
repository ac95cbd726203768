"""Detectors and segmenters are refused with what to do; networks that give features are not taken for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto

from models.card import card_of
from models.errors import ModelError
from models.importing import ImportOptions, import_model
from tests.models.nets import draw, node, residual_net, save

SIDE = 128
Net = tuple[list[NodeProto], dict[str, Any]]


def conv(name: str, channels: int, stride: int, end: str | None = None) -> Net:
    """A map of an image at a stride: a bare convolution, or one with something behind it."""
    weights = {f"{name}_w": draw(stride, channels, 3, stride, stride)}
    raw = name if end is None else f"{name}_raw"
    nodes = [node("Conv", ["x", f"{name}_w"], [raw], strides=[stride, stride])]
    return ([*nodes, node(end, [raw], [name])] if end else nodes), weights


def rows(name: str, values: int, strides: tuple[int, ...], *, last: bool, each: int = 1) -> Net:
    """Rows of `values` numbers for `each` box of the places of some maps, (N, values, boxes) or (N, boxes, values)."""
    nodes: list[NodeProto] = []
    weights: dict[str, Any] = {f"{name}_to": np.int64([0, -1, values] if last else [0, values, -1])}
    parts = []
    for stride in strides:
        chain, own = conv(f"{name}{stride}_map", values * each, stride)
        moved = f"{name}{stride}_moved"
        if last:
            chain.append(node("Transpose", [f"{name}{stride}_map"], [moved], perm=[0, 2, 3, 1]))
        part = f"{name}{stride}_rows"
        chain.append(node("Reshape", [moved if last else f"{name}{stride}_map", f"{name}_to"], [part]))
        nodes, weights = nodes + chain, weights | own
        parts.append(part)
    return [*nodes, node("Concat", parts, [name], axis=1 if last else 2)], weights


def few(name: str, *shape: int) -> Net:
    """As many numbers from the mean of the image."""
    weights = {f"{name}_m": draw(1, 3, int(np.prod(shape))), f"{name}_to": np.int64([0, *shape])}
    nodes = [node("GlobalAveragePool", ["x"], [f"{name}_p"]), node("Flatten", [f"{name}_p"], [f"{name}_f"])]
    nodes += [node("MatMul", [f"{name}_f", f"{name}_m"], [f"{name}_r"])]
    return [*nodes, node("Reshape", [f"{name}_r", f"{name}_to"], [name])], weights


def write(path: Path, *nets: Net, outputs: tuple[str, ...]) -> Path:
    nodes, weights = list[NodeProto](), dict[str, Any]()
    for chain, own in nets:
        nodes, weights = nodes + chain, weights | own
    return save(path, nodes, weights, shape=("N", 3, SIDE, SIDE), outputs=outputs)


YOLO = (8, 16, 32)


@pytest.mark.parametrize(
    ("nets", "outputs", "words"),
    [
        # 16 x 16 + 8 x 8 + 4 x 4 places
        ([rows("out", 84, YOLO, last=False)], ("out",), r"a detector: output out is \[1, 84, 336\], 336 boxes"),
        ([rows("out", 85, YOLO, last=True, each=3)], ("out",), "1,008 boxes on a grid"),
        ([rows("loc", 4, (16, 32), last=True), rows("conf", 21, (16, 32), last=True)], ("loc", "conf"),
         "boxes, and the others have as many rows"),
        ([few("a", 100, 4), few("b", 100, 92)], ("b", "a"), r"output a is \[1, 100, 4\], boxes"),
        ([few("out", 300, 6)], ("out",), r"\[1, 300, 6\], boxes with class and score"),
        ([few("out", 1, 200, 7)], ("out",), r"\[1, 1, 200, 7\], boxes with class and score"),
        ([conv("s8", 255, 8), conv("s16", 255, 16), conv("s32", 255, 32)], ("s8", "s16", "s32"), "bare convolutions"),
        ([conv("grid", 125, 32)], ("grid",), r"a detector or segmenter: its outputs are bare convolutions: grid"),
        ([few("out", 3, 4, 4, 85)], ("out",), r"\[1, 3, 4, 4, 85\], boxes on a grid"),
        ([conv("out", 21, 1, "Relu")], ("out",), r"every place of an image .* output out is \[1, 21, 128, 128\]"),
        ([conv("out", 19, 4)], ("out",), "every place of an image"),
        ([conv("out", 1, 1, "Sigmoid")], ("out",), "a segmenter, depth, another image"),
        # by their names
        ([few("boxes", 9), few("scores", 5)], ("boxes", "scores"), "outputs are called boxes"),
        ([few("logits", 5), few("pred_boxes", 9)], ("logits", "pred_boxes"), "called pred_boxes"),
        ([few("StatefulPartitionedCall/detection_scores", 5)], ("StatefulPartitionedCall/detection_scores",),
         "called StatefulPartitionedCall/detection_scores"),
        ([few("num_dets", 1), few("det_scores", 9)], ("num_dets", "det_scores"), "called num_dets"),
    ],
)  # fmt: skip
def test_what_says_something_of_places_is_refused(
    nets: list[Net], outputs: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "net.onnx", *nets, outputs=outputs)
    with pytest.raises(ModelError, match=words) as refused:
        import_model(path)
    assert f"graft models import {path} --task features" in str(refused.value)
    assert "--output-name" in str(refused.value)
    proto, _ = import_model(path, ImportOptions(task="features"))
    card = card_of(proto, "")
    assert card is not None
    assert card.task == "features"
    import_model(path, ImportOptions(output_name=outputs[0]))


def test_boxes_that_are_picked(tmp_path: Path) -> None:
    nets = [rows("loc", 4, (32,), last=True), rows("score", 16, (32,), last=True)]
    path = write(tmp_path / "net.onnx", *nets, outputs=("kept",))
    model = onnx.load(path)
    model.graph.node.append(node("NonMaxSuppression", ["loc", "score"], ["kept"]))
    onnx.save(model, path)
    with pytest.raises(ModelError, match="a detector: it ends in NonMaxSuppression"):
        import_model(path)


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "obb"])
def test_ultralytics_say_it(tmp_path: Path, task: str) -> None:
    path = residual_net(tmp_path / "net.onnx")
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"task": task, "author": "Ultralytics"})
    onnx.save(model, path)
    with pytest.raises(ModelError, match=f"its metadata says task '{task}'"):
        import_model(path)


@pytest.mark.parametrize(
    ("nets", "outputs"),
    [
        ([conv("out", 512, 32, "Relu")], ("out",)),  # a backbone without its pool
        ([conv("a", 8, 4, "Relu"), conv("b", 16, 16, "Relu"), conv("c", 32, 32, "Relu")], ("a", "b", "c")),
        ([few("out", 17, 192)], ("out",)),  # tokens
        ([few("out", 512)], ("out",)),
        ([few("out", 512, 1, 1)], ("out",)),
        # A classifier that shows a map too.
        ([few("logits", 5), conv("map", 8, 4, "Relu")], ("logits", "map")),
    ],
)
def test_features_and_classes_are_not(nets: list[Net], outputs: tuple[str, ...], tmp_path: Path) -> None:
    import_model(write(tmp_path / "net.onnx", *nets, outputs=outputs))


def test_a_name_that_only_sounds_like_it(tmp_path: Path) -> None:
    for name in ("inbox_classes", "boxing", "detection", "unmasked"):
        import_model(write(tmp_path / "net.onnx", few(name, 5), outputs=(name,)))
