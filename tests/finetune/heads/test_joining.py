"""A trained top behind a frozen trunk: one model that computes what the two compute one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from finetune.autodiff import Graph, Session
from finetune.autodiff.exporting import export
from finetune.autodiff.importing import import_onnx
from finetune.autodiff.layers import dense
from finetune.autodiff.ops.softmax import softmax
from finetune.heads.joining import join
from models.build import build
from models.card import Cut, Label, ModelCard, card_of
from models.errors import CutError, GraphError
from models.importing import ImportOptions, import_model
from models.preprocessing import Preprocessing
from models.runtime import OnnxSession, RuntimeConfig
from models.weights.random import random_weights
from tests.finetune.autodiff.importing.networks import network, node, reals
from tests.models.nets import residual_net
from tests.models.running import small_network

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
CARD = ModelCard(
    "mine",
    "classification",
    Preprocessing((8, 8), "squash"),
    labels=(Label("a", "a"), Label("b", "b")),
    cuts=(Cut("mixed", (11, 8, 8)), Cut("pool", (11,)), Cut("gone", (1,)), Cut("logits", (2,))),
)


def network_of_ours() -> ModelProto:
    blueprint = small_network()
    return build(
        blueprint, random_weights(blueprint, 0), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), fold=False
    )


def run(model: ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    return OnnxSession(model.SerializeToString(), RuntimeConfig(device="cpu", threads=1)).run(feeds)


def test_import_train_export_join() -> None:
    whole = network_of_ours()
    with Graph() as graph:
        part = import_onnx(whole, "mixed", outputs=["pool"], trainable=False)
        logits = dense(part.outputs["pool"], 2, name="head")
    session = Session(graph, device="cpu", threads=1)
    top = export(
        graph,
        {"logits": logits, "probabilities": softmax(logits)},
        session=session,
        cuts={"pool": part.outputs["pool"]},
    )
    joined = join(whole, top, "mixed", CARD)
    onnx.checker.check_model(joined, full_check=True)
    assert [value.name for value in joined.graph.input] == ["image"]
    assert [value.name for value in joined.graph.output] == ["logits", "probabilities"]
    reference = ModelProto()
    reference.CopyFrom(whole)
    reference.graph.output.add().name = "mixed"
    maps = run(reference, image=IMAGES)[-1]
    want = session.run([logits, softmax(logits)], {part.input: maps})
    for got, expected in zip(run(joined, image=IMAGES), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    card = card_of(joined)
    assert card is not None
    assert [cut.name for cut in card.cuts] == ["mixed", "pool", "logits"]
    assert card.labels == CARD.labels


def test_names_that_clash_and_maps_of_one_pixel(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx", shape=("N", 3, 8, 8))
    trunk, _ = import_model(path, ImportOptions(scale="0..1"))
    nodes = [node("Mul", ["x", "w1"], ["r1"]), node("Add", ["r1", "x"], ["block"])]
    top = network(nodes, {"w1": np.float32(1)}, ("N", 8), ["block"])
    joined = join(trunk, top, "pool")
    assert [value.name for value in joined.graph.output] == ["block"]
    assert not joined.metadata_props
    pool = ModelProto()
    pool.CopyFrom(trunk)
    pool.graph.output.add().name = "pool"
    expected = run(pool, image=IMAGES)[-1].reshape(3, 8)
    np.testing.assert_allclose(run(joined, image=IMAGES)[0], 2 * expected, rtol=1e-6)


def test_models_of_two_opsets_are_brought_to_one() -> None:
    trunk = network([node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)], opset=13)
    top = network([node("ReduceMean", ["x", "axis"], ["z"])], {"axis": np.array([1])}, ("N", 3), ["z"])
    joined = join(trunk, top, "y")
    x = reals(2, 3, 8, 8)
    np.testing.assert_allclose(run(joined, x=x)[0], x.mean((1, 2, 3))[:, None], rtol=1e-5, atol=1e-7)


def test_tops_that_do_not_fit() -> None:
    trunk = network_of_ours()
    top = network([node("Relu", ["x"], ["y"])], shape=("N", 5))
    with pytest.raises(
        GraphError, match=r"trunk gives pool, float \[-1, 11\]; the top takes x, float \[-1, 5\]\. Cut"
    ):
        join(trunk, top, "pool")
    two = network([node("Add", ["x", "z"], ["y"])], shape=("N", 11))
    two.graph.input.add().name = "z"
    with pytest.raises(GraphError, match="the top has the inputs x, z; expected just one"):
        join(trunk, two, "pool")
    with pytest.raises(CutError, match="no cut point or tensor named 'pol'"):
        join(trunk, top, "pol")
