"""Shapes, also those that a network computes while it runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto

from models.loading import load
from models.sizes import BATCH, batch_of, sizes_of
from tests.models.nets import draw, node, save, token_net


def shuffled(path: Path, shape: tuple[object, ...] = ("N", 3, 8, 8)) -> ModelProto:
    """Channels exchanged by a Reshape to a shape that is computed, as PyTorch exports `x.view(n, 2, c // 2, h, w)`."""
    weights = {
        "w": draw(1, 6, 3, 1, 1), "zero": np.array(0), "one": np.array(1), "two": np.array(2),
        "at": np.array([0]), "rest": np.array([8, 8]), "list": np.array([2]),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Shape", ["c"], ["shape"]),
        node("Gather", ["shape", "zero"], ["n"]),
        node("Gather", ["shape", "one"], ["channels"]),
        node("Div", ["channels", "two"], ["half"]),
        node("Unsqueeze", ["n", "at"], ["n_list"]),
        node("Unsqueeze", ["half", "at"], ["half_list"]),
        node("Concat", ["n_list", "list", "half_list", "rest"], ["wanted"], axis=0),
        node("Reshape", ["c", "wanted"], ["apart"]),
        node("Transpose", ["apart"], ["swapped"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["swapped", "shape"], ["out"]),
    ]
    return load(str(save(path / "net.onnx", nodes, weights, shape=shape)))


def test_shape_arithmetic_is_computed(tmp_path: Path) -> None:
    shapes, values = sizes_of(shuffled(tmp_path))
    assert shapes["apart"] == (BATCH, 2, 3, 8, 8)
    assert shapes["out"] == (BATCH, 6, 8, 8)
    assert values["wanted"].tolist() == [BATCH, 2, 3, 8, 8]


def test_a_fixed_batch_stays(tmp_path: Path) -> None:
    model = shuffled(tmp_path, (4, 3, 8, 8))
    assert batch_of(model) == 4
    assert sizes_of(model).shapes["out"] == (4, 6, 8, 8)


def test_tokens_that_are_stretched_to_the_batch(tmp_path: Path) -> None:
    shapes = sizes_of(load(str(token_net(tmp_path / "net.onnx")))).shapes
    assert shapes["tokens_of_class"] == (BATCH, 1, 8)
    assert shapes["scores"] == (BATCH, 17, 17)


def test_the_network_is_left_as_it_is(tmp_path: Path) -> None:
    model = shuffled(tmp_path)
    before = model.SerializeToString(deterministic=True)
    sizes_of(model)
    assert model.SerializeToString(deterministic=True) == before
