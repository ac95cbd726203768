"""Where blocks begin when nobody says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune.backbone.depth import uppermost_blocks
from models.errors import CutError
from models.importing import import_model
from tests.models.nets import draw, node, save


def test_blocks_begin_at_the_last_cut_point_with_layers_behind_it(tmp_path: Path) -> None:
    weights = {
        "w1": draw(1, 8, 3, 3, 3),
        "w2": draw(2, 8, 8, 3, 3),
        "w3": draw(3, 8, 8, 3, 3),
        "head": draw(4, 8, 5),
    }
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Conv", ["c1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        node("Add", ["c1", "c2"], ["first"]),
        node("Conv", ["first", "w3"], ["c3"], pads=[1, 1, 1, 1]),
        node("Add", ["first", "c3"], ["second"]),
        node("GlobalAveragePool", ["second"], ["gap"]),
        node("Flatten", ["gap"], ["flat"]),
        node("MatMul", ["flat", "head"], ["out"]),
    ]
    model, _ = import_model(save(tmp_path / "net.onnx", nodes, weights))
    assert uppermost_blocks(model) == "first"


def test_where_blocks_read_the_two_before_them_they_begin_behind_the_stem(tmp_path: Path) -> None:
    """As in NASNet: no tensor between the blocks holds all that is known."""
    weights = {f"w{i}": draw(i, 8, 3 if i == 0 else 8, 3, 3) for i in range(5)}
    padded = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["x", "w0"], ["stem"], strides=[2, 2], **padded),
        node("Conv", ["stem", "w1"], ["c1"], **padded),
        node("Conv", ["stem", "w2"], ["c2"], **padded),
        node("Add", ["c2", "c1"], ["second"]),
        node("Conv", ["c1", "w3"], ["c3"], **padded),
        node("Conv", ["second", "w4"], ["c4"], **padded),
        node("Concat", ["c3", "c4"], ["last"], axis=1),
        node("GlobalAveragePool", ["last"], ["gap"]),
        node("Flatten", ["gap"], ["flat"]),
        node("MatMul", ["flat", "head"], ["out"]),
    ]
    model, _ = import_model(save(tmp_path / "net.onnx", nodes, weights | {"head": draw(9, 16, 5)}))
    assert uppermost_blocks(model) == "stem"


def test_a_single_layer_has_no_blocks(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("GlobalAveragePool", ["c"], ["gap"]),
        node("Flatten", ["gap"], ["flat"]),
        node("MatMul", ["flat", "head"], ["out"]),
    ]
    path = save(tmp_path / "net.onnx", nodes, {"w": draw(1, 8, 3, 3, 3), "head": draw(2, 8, 5)})
    with pytest.raises(CutError, match="no place was found above which blocks could be trained"):
        uppermost_blocks(import_model(path)[0])
