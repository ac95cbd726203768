"""One file out of trunk, top, temperature and rejector."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from finetune.heads.assembly import assemble
from finetune.heads.top import Top
from models.card import Cut, Reject, card_of
from models.errors import CutError, GraphError, ModelError, NumericsError
from models.features import FeatureOptions, default_cuts, open_features
from models.model import Model
from models.quantization import quantize
from models.runtime import RuntimeConfig
from tests.fixtures import tiny_classifier
from tests.models.nets import residual_net
from tests.tuned import (
    CARD,
    REDNESS,
    TEMPERATURE,
    THRESHOLD,
    WEIGHTS,
    linear_top,
    rejector,
    trunk,
    tuned_classifier,
    tuned_regression,
)

CPU = RuntimeConfig("cpu", threads=1)
IMAGES = np.zeros((4, 16, 16, 3), np.uint8)
IMAGES[0, ..., 0] = IMAGES[1, ..., 1] = 255  # red, green
IMAGES[2] = 200  # grey
IMAGES[3, :8, :, 2] = 255  # half blue


def softmax(x: NDArray[np.floating]) -> NDArray[np.float64]:
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_answers_are_those_of_trunk_top_and_temperature(tmp_path: Path) -> None:
    model = Model.open(tuned_classifier(tmp_path), CPU)
    colours = IMAGES.mean(axis=(1, 2)) / 255  # (N, 3)
    logits, probabilities, scores = model.run(IMAGES, ["logits", "probabilities", "reject_score"])
    np.testing.assert_allclose(logits, colours @ WEIGHTS, rtol=1e-5)
    np.testing.assert_allclose(probabilities, softmax(colours @ WEIGHTS / TEMPERATURE), rtol=1e-5)
    np.testing.assert_allclose(scores, [0, 0, 2 - 2 / np.sqrt(3), 0], atol=1e-5)


def test_outputs_and_card(tmp_path: Path) -> None:
    model = Model.open(tuned_classifier(tmp_path), CPU)
    assert model.session.outputs == ["logits", "probabilities", "reject_score"]
    assert model.card.preprocessing.size == (16, 16)  # the trunk's, whatever the card said
    assert model.card.cuts == (Cut("pool", (3,)), Cut("embedding", (3,)))
    assert model.card.temperature == TEMPERATURE
    assert model.card.reject == Reject(THRESHOLD, 1.0, 0.9, "by eye", "mahalanobis")
    assert [label.name for label in model.card.labels] == ["red", "green", "blue"]


def test_regression(tmp_path: Path) -> None:
    model = Model.open(tuned_regression(tmp_path), CPU)
    assert model.session.outputs == ["value"]
    assert model.values(IMAGES) == pytest.approx([100, 0, 200 / 2.55, 0], rel=1e-5)


def test_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    assert tuned_classifier(tmp_path).read_bytes() == tuned_classifier(tmp_path).read_bytes()


def test_without_temperature_and_rejector(tmp_path: Path) -> None:
    proto = assemble(trunk(tmp_path), "pool", linear_top(), CARD)
    card = card_of(proto)
    assert card is not None
    assert (card.temperature, card.reject) == (None, None)
    assert [value.name for value in proto.graph.output] == ["logits", "probabilities"]


def test_fixed_batch_size_stays(tmp_path: Path) -> None:
    base = onnx.load(tiny_classifier(tmp_path / "fixed.onnx", batch_size=3))
    (tmp_path / "tuned.onnx").write_bytes(assemble(base, "pool", linear_top(), CARD).SerializeToString())
    model = Model.open(tmp_path / "tuned.onnx", CPU)
    assert model.card.batch_size == 3
    assert model.probabilities(IMAGES).shape == (4, 3)


@pytest.mark.parametrize("at", ["pool", "embedding"])
def test_fine_tuned_model_can_be_fine_tuned_again(tmp_path: Path, at: str) -> None:
    proto = onnx.load(tuned_classifier(tmp_path))
    for _ in range(3):
        proto = assemble(proto, at, linear_top(WEIGHTS[:, ::-1].copy()), CARD, rejector=rejector())
    (tmp_path / "again.onnx").write_bytes(proto.SerializeToString())
    model = Model.open(tmp_path / "again.onnx", CPU)
    assert model.probabilities(IMAGES).argmax(axis=1)[:2].tolist() == [2, 1]
    assert [cut.name for cut in model.card.cuts] == ["pool", "embedding"]
    (vectors,) = Model.open(tmp_path / "again.onnx", CPU, outputs=["embedding"]).run(IMAGES[:1])
    np.testing.assert_allclose(vectors, [[1, 0, 0]])


def test_embedding_is_what_features_are_taken_from(tmp_path: Path) -> None:
    base = trunk(tmp_path)
    for node in base.graph.node:  # a network without a cut point `pool`
        node.output[:] = ["mean" if name == "pool" else name for name in node.output]
        node.input[:] = ["mean" if name == "pool" else name for name in node.input]
    proto = assemble(base, "mean", linear_top(), CARD, rejector=rejector())
    assert default_cuts(proto) == ("embedding",)
    (tmp_path / "tuned.onnx").write_bytes(proto.SerializeToString())
    assert open_features(tmp_path / "tuned.onnx", FeatureOptions(), CPU).blank["embedding"].shape == (0, 3)


def test_int8_trunk_and_int8_whole(tmp_path: Path) -> None:
    from models.importing import import_model

    base, _ = import_model(residual_net(tmp_path / "net.onnx", classes=3))
    size = card_of(base).preprocessing.size  # type: ignore[union-attr]
    photos = np.random.default_rng(0).integers(0, 256, (8, *size, 3), np.uint8)
    pool = next(cut for cut in card_of(base).cuts if cut.name == "pool")  # type: ignore[union-attr]
    top = linear_top(np.random.default_rng(1).normal(0, 1, (pool.shape[0], 3)).astype(np.float32))
    on_int8 = assemble(quantize(base, iter(photos)), "pool", top, CARD)
    assert any(node.op_type == "DequantizeLinear" for node in on_int8.graph.node)
    whole = quantize(assemble(base, "pool", top, CARD, temperature=2.0), iter(photos))
    dense = next(node for node in whole.graph.node if "dense" in node.name)
    assert dense.op_type == "MatMul"
    assert not any(
        name.endswith("DequantizeLinear_Output") for name in dense.input
    )  # the end stays in float32
    answers = []
    for name, proto in (("a", on_int8), ("b", whole)):
        (tmp_path / name).write_bytes(proto.SerializeToString())
        answers.append(Model.open(tmp_path / name, CPU).run(photos, ["logits"])[0])
    assert np.corrcoef(answers[0].ravel(), answers[1].ravel())[0, 1] > 0.99


class TestRefused:
    def test_no_such_tensor(self, tmp_path: Path) -> None:
        with pytest.raises(CutError, match="no cut point or tensor named 'pol'"):
            assemble(trunk(tmp_path), "pol", linear_top(), CARD)

    def test_trunk_without_a_card(self, tmp_path: Path) -> None:
        bare = trunk(tmp_path)
        del bare.metadata_props[:]
        with pytest.raises(ModelError, match=r"the trunk has no model card\. Import it"):
            assemble(bare, "pool", linear_top(), CARD)

    def test_top_of_another_width(self, tmp_path: Path) -> None:
        with pytest.raises(GraphError, match=r"the trunk gives pool.*the top takes features"):
            assemble(trunk(tmp_path), "pool", linear_top(np.ones((5, 3), np.float32)), CARD)

    def test_labels_that_do_not_fit(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"gives logits \[2, 3\]; expected \[2, 2\]"):
            assemble(trunk(tmp_path), "pool", linear_top(), dataclasses.replace(CARD, labels=CARD.labels[:2]))

    def test_top_without_what_it_should_make(self, tmp_path: Path) -> None:
        with pytest.raises(
            GraphError, match=r"the top takes features and makes .*; expected features, embedding and value"
        ):
            assemble(trunk(tmp_path), "pool", linear_top(), REDNESS)

    def test_temperature_of_a_regression(self, tmp_path: Path) -> None:
        with pytest.raises(GraphError, match="temperature and rejector are for classes"):
            assemble(
                trunk(tmp_path),
                "pool",
                linear_top(np.ones((3, 1), np.float32), regression=True),
                REDNESS,
                temperature=2.0,
            )

    def test_weights_that_are_not_numbers(self, tmp_path: Path) -> None:
        with pytest.raises(NumericsError, match="gives logits with NaN or infinity"):
            assemble(trunk(tmp_path), "pool", linear_top(np.full((3, 3), np.nan, np.float32)), CARD)

    def test_images_that_look_at_their_neighbours(self, tmp_path: Path) -> None:
        model = linear_top().model
        dense = next(node for node in model.graph.node if node.name == "dense")
        model.graph.initializer.append(numpy_helper.from_array(np.array([0]), "rows"))
        mean = helper.make_node("ReduceMean", ["embedding", "rows"], ["mean"], keepdims=1)
        model.graph.node.insert(1, helper.make_node("Sub", ["embedding", "mean"], ["centred"]))
        model.graph.node.insert(1, mean)
        dense.input[0] = "centred"
        with pytest.raises(ModelError, match="another logits for an image alone than beside others"):
            assemble(trunk(tmp_path), "pool", Top(model), CARD)

    def test_broken_graph(self, tmp_path: Path) -> None:
        model = linear_top().model
        next(node for node in model.graph.node if node.name == "dense").op_type = "MatMull"
        with pytest.raises(ModelError, match="onnx refuses the finished model"):
            assemble(trunk(tmp_path), "pool", Top(model), CARD)
