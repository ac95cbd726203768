"""Networks too large for one string; the limit is lowered here, so that small ones are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from finetune.explain.gradcam import GradCam
from models import serialized
from models.features import FeatureOptions, open_features
from models.importing import import_model
from models.loading import load
from models.model import Model
from models.runtime import RuntimeConfig
from models.serialized import bytes_if_small, content_digest, is_large, session_of, write_model
from tests.models.nets import draw, node, save

CPU = RuntimeConfig(device="cpu", threads=1)
PIXELS = np.random.default_rng(5).integers(0, 256, (2, 16, 16, 3), np.uint8)


def network(folder: Path) -> Path:
    """With weights of 0.3 and 28 kB."""
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Conv", ["c", "v"], ["m"]),
        node("GlobalAveragePool", ["m"], ["gap"]),
        node("Flatten", ["gap"], ["f"]),
        node("MatMul", ["f", "head"], ["out"]),
    ]
    weights = {"w": draw(1, 32, 3, 1, 1), "v": draw(2, 24, 32, 3, 3), "head": draw(3, 24, 5)}
    return save(folder / "net.onnx", nodes, weights, shape=("N", 3, 16, 16))


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialized, "LIMIT", 20_000)


@pytest.fixture
def model(tmp_path: Path) -> ModelProto:
    return import_model(network(tmp_path))[0]


def test_a_session_of_any_size(model: ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = session_of(model, CPU).run({"image": PIXELS})
    monkeypatch.setattr(serialized, "LIMIT", 20_000)
    assert is_large(model)
    assert bytes_if_small(model) is model
    for got, want in zip(session_of(model, CPU).run({"image": PIXELS}), expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_large_file_opens_like_any(model: ModelProto, tmp_path: Path, small_limit: None) -> None:
    path = tmp_path / "out" / "large.onnx"
    written = write_model(path, model)
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["large.onnx", "large.onnx.data"]
    assert written == sum(file.stat().st_size for file in files)
    onnx.checker.check_model(str(path))
    want = Model.open(network(tmp_path), CPU).run(PIXELS)
    for got, expected in zip(Model.open(path, CPU).run(PIXELS), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    again = {value.name: value.raw_data for value in load(path).graph.initializer}
    assert again == {value.name: value.raw_data for value in model.graph.initializer}


def test_equal_networks_give_equal_bytes(model: ModelProto, tmp_path: Path, small_limit: None) -> None:
    for name in ("a", "b"):
        write_model(tmp_path / name / "net.onnx", model)
    for file in ("net.onnx", "net.onnx.data"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_digest_is_of_graph_and_weights(model: ModelProto, small_limit: None) -> None:
    digest = content_digest(model)
    assert content_digest(model) == digest
    weight = max(model.graph.initializer, key=lambda value: len(value.raw_data))
    weight.raw_data = weight.raw_data[:-1] + bytes([weight.raw_data[-1] ^ 1])
    assert content_digest(model) != digest


def test_everything_works_with_a_large_one(tmp_path: Path, small_limit: None) -> None:
    path = network(tmp_path)
    assert Model.open(path, CPU).run(PIXELS)[0].shape == (2, 5)
    opened = open_features(path, FeatureOptions(), CPU)
    assert opened.model.run(PIXELS, opened.cuts)[0].shape == (2, 24)
    assert opened.reopen(CPU).model.run(PIXELS, opened.cuts)[0].shape == (2, 24)
    assert GradCam(path, device="cpu").explain(PIXELS[0])[0].raw.shape == (14, 14)
