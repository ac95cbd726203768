"""The batch of networks that were exported for one image, as PyTorch's exporters write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto

from models.batch import free_batch
from models.graph import shape_of
from models.loading import load
from models.runtime import Array, OnnxSession, RuntimeConfig
from tests.models.nets import draw, node, save

CPU = RuntimeConfig(device="cpu", threads=1)
IMAGES = np.random.default_rng(3).standard_normal((5, 3, 8, 8)).astype(np.float32)
STEM = node("Conv", ["x", "w"], ["m"])  # (N, 6, 8, 8)
FLAT = [node("ReduceMean", ["t", "one"], ["mean"], keepdims=0), node("MatMul", ["mean", "head"], ["out"])]


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def network(path: Path, nodes: list[NodeProto], shape: tuple[Any, ...], **weights: Any) -> ModelProto:
    weights = {"w": draw(1, 6, 3, 1, 1), "head": draw(2, 6, 4), "one": ints(1), **weights}
    return load(str(save(path / "net.onnx", [STEM, *nodes], weights, shape=shape)))


def run(model: ModelProto, images: Array) -> Array:
    session = OnnxSession(model.SerializeToString(), CPU)
    return session.run({next(iter(session.inputs)): images})[0]


TOKENS = [
    node("Reshape", ["m", "s1"], ["c"]),
    node("Transpose", ["c"], ["patches"], perm=[0, 2, 1]),
    node("Concat", ["token", "patches"], ["t"], axis=1),
    *FLAT,
]
WINDOWS = [
    node("Transpose", ["m"], ["nhwc"], perm=[0, 2, 3, 1]),
    node("Reshape", ["nhwc", "s1"], ["six"]),
    node("Transpose", ["six"], ["sorted"], perm=[0, 1, 3, 2, 4, 5]),
    node("Reshape", ["sorted", "s2"], ["windows"]),
    node("Softmax", ["windows"], ["shares"], axis=1),
    node("Reshape", ["shares", "s3"], ["t"]),
    *FLAT,
]
SEQUENCE_FIRST = [
    node("Reshape", ["m", "s1"], ["c"]),
    node("Transpose", ["c"], ["tnc"], perm=[2, 0, 1]),
    node("Reshape", ["tnc", "s2"], ["heads"]),
    node("Softmax", ["heads"], ["shares"], axis=2),
    node("Reshape", ["shares", "s3"], ["back"]),
    node("Transpose", ["back"], ["t"], perm=[1, 0, 2]),
    *FLAT,
]
STRIDED = [
    node("GlobalAveragePool", ["m"], ["gap"]),
    node("Reshape", ["gap", "s1"], ["all"]),
    node("Gather", ["all", "places"], ["picked"]),
    node("Reshape", ["picked", "s2"], ["mean"]),
    node("MatMul", ["mean", "head"], ["out"]),
]
RESIZED = [
    node("Resize", ["m", "", "", "s1"], ["large"], mode="nearest"),
    node("Reshape", ["large", "s2"], ["c"]),
    node("Transpose", ["c"], ["t"], perm=[0, 2, 1]),
    *FLAT,
]
ROWS = {
    "flat": ([node("GlobalAveragePool", ["m"], ["gap"]), node("Reshape", ["gap", "s1"], ["f"]),
              node("MatMul", ["f", "head"], ["out"])], {"s1": ints(1, -1)}),
    "class token": (TOKENS, {"s1": ints(1, 6, 64), "token": draw(5, 1, 1, 6)}),
    "windows": (WINDOWS, {"s1": ints(1, 2, 4, 2, 4, 6), "s2": ints(4, 16, 6), "s3": ints(1, 64, 6)}),
    "sequence first": (SEQUENCE_FIRST, {"s1": ints(1, 6, 64), "s2": ints(64, 2, 3), "s3": ints(64, 1, 6)}),
    "as_strided": (STRIDED, {"s1": ints(-1), "places": np.arange(6).reshape(1, 6, 1, 1), "s2": ints(1, 6)}),
    "resized": (RESIZED, {"s1": ints(1, 6, 16, 16), "s2": ints(1, 6, 256)}),
}  # fmt: skip


@pytest.mark.parametrize("declared", [1, "N"])
@pytest.mark.parametrize("name", ROWS)
def test_sizes_are_opened(tmp_path: Path, name: str, declared: Any, capfd: Any) -> None:
    nodes, weights = ROWS[name]
    model = network(tmp_path, nodes, (declared, 3, 8, 8), **weights)
    expected = np.concatenate([run(model, image[None]) for image in IMAGES])
    assert free_batch(model, (3, 8, 8)) is None
    assert shape_of(model.graph.input[0]) == (-1, 3, 8, 8)
    np.testing.assert_allclose(run(model, IMAGES), expected, rtol=1e-5, atol=1e-6)
    assert capfd.readouterr() == ("", "")  # nothing of what was only tried


def test_a_batch_of_several(tmp_path: Path) -> None:
    nodes, _ = ROWS["windows"]
    sizes = {"s1": ints(2, 2, 4, 2, 4, 6), "s2": ints(8, 16, 6), "s3": ints(2, 64, 6)}
    model = network(tmp_path, nodes, (2, 3, 8, 8), **sizes)
    expected = run(model, IMAGES[:2])
    assert free_batch(model, (3, 8, 8)) is None
    np.testing.assert_allclose(run(model, IMAGES)[:2], expected, rtol=1e-5, atol=1e-6)


def test_images_that_would_be_mixed_keep_the_batch(tmp_path: Path) -> None:
    """It runs with any number of images, and gives a row for each: of one it takes the image's own mean off."""
    nodes = [
        node("ReduceMean", ["m", "batch"], ["mean"]),
        node("Sub", ["m", "mean"], ["rest"]),
        node("Add", ["rest", "m"], ["sum"]),
        node("GlobalAveragePool", ["sum"], ["gap"]),
        node("Flatten", ["gap"], ["f"]),
        node("MatMul", ["f", "head"], ["out"]),
    ]
    model = network(tmp_path, nodes, (1, 3, 8, 8), batch=ints(0))
    assert free_batch(model, (3, 8, 8)) == 1
    assert shape_of(model.graph.input[0])[0] == 1


def test_sizes_that_are_computed_become_constants(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["m"], ["shape"]),
        node("Slice", ["shape", "zero", "two"], ["outer"]),
        node("Concat", ["outer", "minus"], ["wanted"], axis=0),
        node("Reshape", ["m", "wanted"], ["c"]),
        node("Transpose", ["c"], ["t"], perm=[0, 2, 1]),
        *FLAT,
    ]
    model = network(tmp_path, nodes, ("N", 3, 8, 8), zero=ints(0), two=ints(2), minus=ints(-1))
    expected = run(model, IMAGES)
    assert free_batch(model, (3, 8, 8)) is None
    assert "Shape" not in [each.op_type for each in model.graph.node]
    np.testing.assert_allclose(run(model, IMAGES), expected, rtol=1e-6)


def test_a_network_that_does_not_run_is_left_alone(tmp_path: Path) -> None:
    nodes = [node("Reshape", ["m", "s"], ["f"]), node("MatMul", ["f", "head"], ["out"])]
    model = network(tmp_path, nodes, ("N", 3, 8, 8), s=ints(1, 7))
    before = model.SerializeToString(deterministic=True)
    assert free_batch(model, (3, 8, 8)) is None
    assert model.SerializeToString(deterministic=True) == before
