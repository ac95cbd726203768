"""Features of a network: where it is cut, what the graph does to them, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, load, save

from models.errors import CutError
from models.features import FeatureOptions, default_cuts, feature_graph, open_features
from models.importing import as_graft_model
from models.locating import locate
from models.model import Model
from models.opset import IR_VERSION, opset_imports
from models.runtime import OnnxSession, RuntimeConfig
from tests.fixtures import tiny_classifier

CPU = RuntimeConfig(device="cpu", threads=1)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), np.uint8)


def features(*cuts: str, **options: object) -> list[np.ndarray]:
    opened = open_features("builtin", FeatureOptions(tuple(cuts), **options), CPU)  # type: ignore[arg-type]
    assert opened.cuts == (cuts or ("pool",))
    return opened.model.run(IMAGES, opened.cuts)


@pytest.fixture(scope="module")
def maps() -> np.ndarray:
    """mixed_5 of the built-in network, (3, C, H, W)."""
    return Model.open("builtin", CPU, outputs=["mixed_5"]).run(IMAGES)[0]


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("avg", lambda maps: maps.mean((2, 3))),
        ("max", lambda maps: maps.max((2, 3))),
        ("flatten", lambda maps: maps.reshape(3, -1)),
        ("none", lambda maps: maps),
    ],
)
def test_pooling_is_what_numpy_says(
    pool: str, expected: Callable[[np.ndarray], np.ndarray], maps: np.ndarray
) -> None:
    (found,) = features("mixed_5", pool=pool)
    assert found.shape == expected(maps).shape
    assert np.allclose(found, expected(maps), rtol=1e-4, atol=1e-5)


def test_normalized_vectors_have_length_one(maps: np.ndarray) -> None:
    (vectors,) = features(normalize="l2")
    assert np.allclose((vectors**2).sum(1), 1, atol=1e-5)
    (whole,) = features("mixed_5", pool="none", normalize="l2")
    assert np.allclose(whole, maps / np.sqrt((maps**2).sum((1, 2, 3), keepdims=True)), rtol=1e-4, atol=1e-6)


def test_half_precision_rounds_and_nothing_more() -> None:
    (full,), (half,) = features(), features(dtype="float16")
    assert half.dtype == np.float16
    assert np.array_equal(full.astype(np.float16), half)


def test_several_cuts_come_in_the_order_asked_for() -> None:
    pool, mixed, logits = features("pool", "mixed_5", "logits")
    assert (pool.shape, mixed.shape, logits.shape) == ((3, 1280), (3, 384), (3, 200))
    assert np.array_equal(pool, features()[0])


def test_same_network_reopens_with_other_settings() -> None:
    opened = open_features("builtin", FeatureOptions(), CPU)
    again = opened.reopen(RuntimeConfig(device="cpu", threads=2))
    assert again.model.session.config.threads == 2
    assert np.array_equal(again.model.run(IMAGES)[0], opened.model.run(IMAGES)[0])


def test_unknown_cut_names_the_close_one() -> None:
    with pytest.raises(CutError, match="Did you mean mixed_5"):
        features("mixed5")


class TestDefaultCut:
    @staticmethod
    def without_pool(path: Path, *nodes: object, outputs: tuple[str, ...]) -> tuple[str, ...]:
        graph = helper.make_graph(
            list(nodes), "net", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 4])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [helper.make_tensor("w", TensorProto.FLOAT, [4, 4], np.eye(4).ravel())],
        )  # fmt: skip
        return default_cuts(helper.make_model(graph, opset_imports=opset_imports(), ir_version=IR_VERSION))

    def test_is_pool_where_there_is_one(self) -> None:
        assert default_cuts(as_graft_model(locate("builtin"))[0]) == ("pool",)

    def test_is_what_the_classifier_reads(self, tmp_path: Path) -> None:
        nodes = [
            helper.make_node("Relu", ["image"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "w"], ["product"]),
            helper.make_node("Identity", ["product"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"]),
        ]
        assert self.without_pool(tmp_path, *nodes, outputs=("logits", "probabilities")) == ("hidden",)

    def test_is_every_output_of_a_features_network(self, tmp_path: Path) -> None:
        nodes = [helper.make_node("Relu", ["image"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
        assert self.without_pool(tmp_path, *nodes, outputs=("a", "b")) == ("a", "b")

    @pytest.mark.parametrize("output", ["logits", "probabilities", "value"])
    def test_that_cannot_be_found_is_asked_for(self, tmp_path: Path, output: str) -> None:
        nodes = [helper.make_node("Relu", ["image"], [output])]
        with pytest.raises(CutError, match="Name the cut point to take"):
            self.without_pool(tmp_path, *nodes, outputs=(output,))


def test_opset_before_18_has_the_axes_elsewhere(tmp_path: Path) -> None:
    model = load(tiny_classifier(tmp_path / "tiny.onnx"))
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", 13))
    reduce = next(node for node in model.graph.node if node.op_type == "ReduceMean")
    reduce.input.pop()
    reduce.attribute.append(helper.make_attribute("axes", [1, 2]))
    graph = feature_graph(model, ("scaled",), FeatureOptions(pool="none", normalize="l2"))
    image = np.full((1, 16, 16, 3), 255, np.uint8)
    save(graph, tmp_path / "cut.onnx")
    (found,) = OnnxSession(tmp_path / "cut.onnx", CPU).run({"image": image})
    assert found == pytest.approx(np.full((1, 16, 16, 3), 1 / np.sqrt(16 * 16 * 3)), rel=1e-5)
