"""Maxima over a map with zeros around it, which onnxruntime's own optimisation forgets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from models.errors import ModelError
from models.importing import import_model
from models.runtime import OnnxSession, RuntimeConfig
from tests.models.nets import draw, node, save

CPU = RuntimeConfig(device="cpu", threads=1)
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)


def net(path: Path, *value: str) -> Path:
    """As the stem of ResNetV2: what is pooled is negative, so that the zeros around it are the largest."""
    nodes = [
        node("Conv", ["x", "w", "below"], ["c"], pads=[1, 1, 1, 1]),
        node("Pad", ["c", "pads", *value], ["padded"]),
        node("MaxPool", ["padded"], ["pooled"], kernel_shape=[3, 3], strides=[2, 2]),
        node("GlobalAveragePool", ["pooled"], ["gap"]),
        node("Flatten", ["gap"], ["flat"]),
        node("MatMul", ["flat", "head"], ["out"]),
    ]
    weights = {
        "w": draw(1, 4, 3, 3, 3),
        "below": np.full(4, -20, np.float32),
        "pads": np.int64([0, 0, 1, 1, 0, 0, 1, 1]),
        "zero": np.float32(0),
        "head": draw(2, 4, 5),
    }
    return save(path, nodes, weights, shape=("N", 3, 8, 8))


def as_written(path: Path, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the network says where nothing is optimised."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("from_bytes", [True, False])
def test_sessions_keep_the_zeros(tmp_path: Path, from_bytes: bool) -> None:
    path = net(tmp_path / "net.onnx")
    x = IMAGES.transpose(0, 3, 1, 2).astype(np.float32) / 255
    (out,) = OnnxSession(path.read_bytes() if from_bytes else path, CPU).run({"x": x})
    np.testing.assert_allclose(out, as_written(path, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [(), ("zero",)])
def test_imported_files_keep_them_in_any_onnxruntime(tmp_path: Path, value: tuple[str, ...]) -> None:
    path = net(tmp_path / "net.onnx", *value)
    x = ((IMAGES / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(0, 3, 1, 2)
    model, _ = import_model(path)
    onnx.checker.check_model(model)
    bare = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = bare.run(["logits"], {"image": IMAGES})
    np.testing.assert_allclose(logits, as_written(path, x.astype(np.float32)), rtol=1e-4, atol=1e-5)


def test_file_that_is_not_there_is_said_as_ever(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        OnnxSession(tmp_path / "none.onnx", CPU)
