"""Eight bits: what is rounded and what is not, how close it stays, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

from models.agreement import cosine
from models.architectures.blueprint import Blueprint
from models.build import build
from models.card import Accuracy, Cut, Label, ModelCard, card_of, write_card
from models.errors import ModelError
from models.importing import import_model
from models.preprocessing import Preprocessing
from models.quantization import prepare, quantize
from models.runtime import OnnxSession, RuntimeConfig
from models.weights.random import random_weights
from tests.models.nets import residual_net
from tests.models.running import small_network

CPU = RuntimeConfig(device="cpu", threads=1)
BLUEPRINT = small_network()
HEIGHT, WIDTH = BLUEPRINT.input_size
IMAGES = list(np.random.default_rng(0).integers(0, 256, (12, HEIGHT, WIDTH, 3), np.uint8))


def network(**options: bool) -> ModelProto:
    model = build(BLUEPRINT, random_weights(BLUEPRINT), mean=[0.5] * 3, std=[0.5] * 3, **options)
    classes = BLUEPRINT.shape(BLUEPRINT.layers[-1].name)[0]
    card = ModelCard(
        "small", "classification", Preprocessing(BLUEPRINT.input_size, "squash"),
        labels=tuple(Label(f"c{i}", f"class {i}") for i in range(classes)),
        cuts=tuple(Cut(name, BLUEPRINT.shape(layer)) for name, layer in BLUEPRINT.cuts.items()),
        accuracy=(Accuracy("data", "val", 10, 0.5),),
    )  # fmt: skip
    write_card(model, card)
    return model


def run(model: ModelProto, outputs: list[str]) -> list[np.ndarray]:
    return OnnxSession(model.SerializeToString(), CPU).run({"image": np.stack(IMAGES)}, outputs)


@pytest.mark.parametrize(
    "options", [{}, {"half": True}, {"fold": False}, {"fold": False, "half": True}], ids=str
)
def test_prepared_network_is_plain_and_gives_the_same(options: dict[str, bool]) -> None:
    model = network(**options)
    plain = prepare(model)
    assert {weight.data_type for weight in plain.graph.initializer} == {TensorProto.FLOAT}
    assert not {"BatchNormalization"} & {node.op_type for node in plain.graph.node}
    assert all(node.name for node in plain.graph.node)
    for ours, theirs in zip(run(plain, ["logits"]), run(model, ["logits"]), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("counts", [True, False], ids=["padding counts", "padding does not count"])
def test_average_pool_moves_behind_the_convolution_that_makes_fewer_channels(counts: bool) -> None:
    blueprint = Blueprint((HEIGHT, WIDTH), 1e-3)
    wide = blueprint.conv(blueprint.INPUT, "wide", 32, 3)
    pooled = blueprint.avg_pool(wide, "pool_branch", 3, 1, 1, count_include_pad=counts)
    narrow = blueprint.conv(pooled, "narrow", 8)
    broad = blueprint.conv(blueprint.avg_pool(narrow, "other", 3, 1, 1, counts), "broad", 16)
    blueprint.cut(blueprint.dense(blueprint.global_pool(broad, "gap"), "fc", 5), "logits")
    model = build(blueprint, random_weights(blueprint), mean=[0.5] * 3, std=[0.5] * 3)
    plain = prepare(model)
    assert np.allclose(run(plain, ["logits"])[0], run(model, ["logits"])[0], rtol=1e-4, atol=1e-4)
    made = {name: node for node in plain.graph.node for name in node.output}
    sources = [made[node.input[0]].op_type for node in plain.graph.node if node.op_type == "AveragePool"]
    assert sources == ["Conv", "Relu"], "the second one would be computed on more channels"


@pytest.fixture(scope="module")
def quantized() -> ModelProto:
    return quantize(network(half=True), IMAGES)


def test_convolutions_are_integers_and_the_ends_are_not(quantized: ModelProto) -> None:
    made = {name: node for node in quantized.graph.node for name in node.output}
    kinds = {weight.name: weight.data_type for weight in quantized.graph.initializer}
    shapes = {weight.name: list(weight.dims) for weight in quantized.graph.initializer}
    convolutions = [node for node in quantized.graph.node if node.op_type == "Conv"]
    assert convolutions
    for conv in convolutions:
        pixels, kernel = made[conv.input[0]], made[conv.input[1]]
        assert pixels.op_type == kernel.op_type == "DequantizeLinear"
        assert kinds[kernel.input[0]] == TensorProto.INT8
        assert shapes[kernel.input[1]] == shapes[kernel.input[0]][:1], "one scale a channel"
        assert kinds[pixels.input[2]] == TensorProto.UINT8
    for node in quantized.graph.node:
        if node.op_type in ("GlobalAveragePool", "Softmax", "Sub", "Mul"):
            assert "QuantizeLinear" not in {made[name].op_type for name in node.input if name in made}
    last = made["logits"]
    assert last.op_type == "Gemm"
    assert not any(made[name].op_type == "DequantizeLinear" for name in last.input if name in made)


def test_answers_stay_close_and_cuts_keep_their_names(quantized: ModelProto) -> None:
    cuts = list(BLUEPRINT.cuts)
    exact = onnx.ModelProto()
    exact.CopyFrom(network())
    for model in (exact, quantized):
        del model.graph.output[:]
        model.graph.output.extend(
            onnx.helper.make_tensor_value_info(cut, TensorProto.FLOAT, None) for cut in cuts
        )
    for cut, ours, theirs in zip(cuts, run(quantized, cuts), run(exact, cuts), strict=True):
        assert cosine(ours, theirs).min() > 0.99, cut


def test_card_goes_along_without_what_was_measured_on_the_original(caplog: pytest.LogCaptureFixture) -> None:
    model = quantize(network(), IMAGES)
    assert caplog.messages == []
    card = card_of(model)
    assert card is not None
    assert (card.name, card.accuracy, len(card.cuts)) == ("small.int8", (), len(BLUEPRINT.cuts))
    assert [entry.key for entry in model.metadata_props] == ["graft.card"]


def test_network_of_a_user_is_quantized_too(tmp_path: Path) -> None:
    model, _ = import_model(residual_net(tmp_path / "net.onnx"))
    images = list(np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8))
    quantized = quantize(model, images)
    made = {name: node for node in quantized.graph.node for name in node.output}
    adds = [node for node in quantized.graph.node if node.op_type == "Add"]
    kinds = [{made[name].op_type for name in node.input if name in made} for node in adds]
    assert kinds == [{"Mul"}, {"DequantizeLinear"}], "the normalisation stays, the shortcut does not"


def test_quantized_network_is_not_quantized_again(quantized: ModelProto) -> None:
    with pytest.raises(ModelError, match=r"in eight bits already; .* Give the original"):
        quantize(quantized, IMAGES)


def test_nothing_to_quantize_is_said(tiny_path: Path) -> None:
    with pytest.raises(ModelError, match="neither convolutions nor matrix products"):
        quantize(onnx.load(tiny_path), IMAGES)
    with pytest.raises(ModelError, match="no calibration image could be read"):
        quantize(network(), [])


def test_refusal_of_onnxruntime_is_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr("onnxruntime.quantization.quantize_static", refuse)
    with pytest.raises(
        ModelError, match=r"cannot quantize the network \(no such thing\)\. Use it in float32"
    ):
        quantize(network(), IMAGES)
