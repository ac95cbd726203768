from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from models.architectures.blueprint import Blueprint
from models.build import build
from models.errors import CutError
from models.importing import ImportOptions, import_model
from models.runtime import OnnxSession, RuntimeConfig
from models.truncation import cut_model, list_cuts
from models.weights.random import random_weights
from tests.models.nets import residual_net

CPU = RuntimeConfig(device="cpu", threads=1)
PIXELS = np.random.default_rng(5).integers(0, 256, (2, 32, 32, 3), np.uint8)


@pytest.fixture
def net(tmp_path: Path) -> ModelProto:
    return import_model(residual_net(tmp_path / "net.onnx"), ImportOptions(scale="0..1"))[0]


def test_cut_computes_the_same_with_less(net: ModelProto) -> None:
    whole = ModelProto()
    whole.CopyFrom(net)
    whole.graph.output.append(helper.make_tensor_value_info("block", TensorProto.FLOAT, None))
    expected = OnnxSession(whole.SerializeToString(), CPU).run({"image": PIXELS}, ["block"])[0]
    cut = cut_model(net, ["block"])
    onnx.checker.check_model(cut, full_check=True)
    np.testing.assert_array_equal(
        OnnxSession(cut.SerializeToString(), CPU).run({"image": PIXELS})[0], expected
    )
    names = {value.name for value in cut.graph.initializer}
    assert {"w1", "w2"} <= names
    assert "head" not in names
    assert len(cut.graph.node) < len(net.graph.node)
    assert len(net.graph.output) == 2  # the original is as it was


def test_map_of_one_pixel_comes_out_as_a_vector(net: ModelProto) -> None:
    cut = cut_model(net, ["pool", "block"])
    pool, block = OnnxSession(cut.SerializeToString(), CPU).run({"image": PIXELS})
    assert pool.shape == (2, 8)
    np.testing.assert_allclose(pool, block.mean((2, 3)), rtol=1e-5, atol=1e-6)


def test_any_tensor_can_be_cut_at(net: ModelProto) -> None:
    assert OnnxSession(cut_model(net, ["r1"]).SerializeToString(), CPU).run({"image": PIXELS})[0].shape == (
        2,
        8,
        16,
        16,
    )


def test_classifier_with_an_extra_output_stays_one(net: ModelProto) -> None:
    cut = cut_model(net, ["logits", "probabilities", "pool"])
    assert [value.name for value in cut.graph.output] == ["logits", "probabilities", "pool"]
    assert '"task": "classification"' in cut.metadata_props[0].value


@pytest.mark.parametrize("name", ["blok", "image", "w1", ""])
def test_unknown_cut_is_an_error_with_a_hint(net: ModelProto, name: str) -> None:
    with pytest.raises(CutError, match="there are block, pool"):
        cut_model(net, [name])
    with pytest.raises(CutError, match="Did you mean block"):
        cut_model(net, ["blok"])


def test_cuts_without_a_card(net: ModelProto) -> None:
    del net.metadata_props[:]
    assert [(cut.name, cut.shape) for cut in list_cuts(net)] == [("block", (8, 16, 16)), ("pool", (8,))]


def test_half_precision_weights_behind_a_cast_are_seen_through() -> None:
    b = Blueprint((32, 32), 1e-3)
    x = b.cut(b.conv(b.INPUT, "first", 4, 3), "first_cut")
    x = b.cut(b.global_pool(b.conv(x, "second", 4, 3), "pool"), "pool")
    b.cut(b.dense(x, "fc", 3), "logits")
    model = build(b, random_weights(b), mean=(0, 0, 0), std=(1, 1, 1), half=True)
    cut = cut_model(model, ["first_cut"])
    weights = [value.name for value in cut.graph.initializer if value.data_type == TensorProto.FLOAT16]
    assert len(weights) == 1
    assert sum(n.op_type == "Cast" for n in cut.graph.node) == 2  # that weight's, and the pixels'
    assert OnnxSession(cut.SerializeToString(), CPU).run({"image": PIXELS})[0].shape == (2, 4, 32, 32)
