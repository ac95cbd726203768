"""Which numbers outputs are made from that are maps, best classes, bytes, or no numbers at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.errors import ModelError
from tests.models.ended import PIXELS, labels, network, opened, original, softmax
from tests.models.nets import node


def zipped(path: Path, **options: Any) -> Path:
    """As Custom Vision exports: `classLabel`, and a list of maps from class to probability."""
    ends = [
        node("Softmax", ["scores"], ["p"], axis=1),
        node("ArgMax", ["p"], ["best"], axis=1, keepdims=0),
        node("ArrayFeatureExtractor", ["names", "best"], ["classLabel"], domain="ai.onnx.ml"),
        node("ZipMap", ["p"], ["loss"], classlabels_strings=["v", "w", "x", "y", "z"], domain="ai.onnx.ml"),
    ]
    network(
        path,
        ends,
        {"names": np.array(["v", "w", "x", "y", "z"], object)},
        outputs=("classLabel", "loss"),
        **options,
    )
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("classLabel", TensorProto.STRING, None))
    maps = helper.make_map_type_proto(
        TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    )
    model.graph.output.append(helper.make_value_info("loss", helper.make_sequence_type_proto(maps)))
    onnx.save(model, path)
    return path


def test_map_of_classes_gives_probabilities_and_labels(tmp_path: Path) -> None:
    path = zipped(tmp_path / "net.onnx")
    bare = network(tmp_path / "bare.onnx", [node("Softmax", ["scores"], ["out"], axis=1)])
    model, card, notes = opened(path)
    assert [label.name for label in card.labels] == ["v", "w", "x", "y", "z"]
    np.testing.assert_allclose(model.probabilities(PIXELS), original(bare), rtol=1e-4, atol=1e-6)
    assert "output classLabel is the best class: the numbers that it is made from are taken" in notes
    assert [label.name for label in opened(path, labels=labels(*"abcde"))[1].labels] == list("abcde")


@pytest.mark.parametrize("end", ["ArgMax", "TopK"])
def test_best_class_leads_back_to_its_scores(tmp_path: Path, end: str) -> None:
    ends = [node("ArgMax", ["scores"], ["b"], axis=1), node("Cast", ["b"], ["out"], to=TensorProto.FLOAT)]
    if end == "TopK":
        ends = [node("TopK", ["scores", "k"], ["out", "index"])]
    path = network(tmp_path / "net.onnx", ends, {"k": np.int64([2])})
    scores = network(tmp_path / "scores.onnx", [node("Identity", ["scores"], ["out"])])
    model, _, notes = opened(path, labels=labels(*"abcde"))
    np.testing.assert_allclose(model.probabilities(PIXELS), softmax(original(scores)), rtol=1e-4, atol=1e-6)
    assert "output out is the best class" in notes


@pytest.mark.parametrize("spelling", ["QuantizeLinear", "Cast", "QLinearSoftmax"])
def test_bytes_are_read_as_the_numbers_that_they_stand_for(tmp_path: Path, spelling: str) -> None:
    weights = {"s": np.float32(1 / 256), "z": np.uint8(0), "q": np.float32(0.1), "half": np.uint8(128)}
    softmax_ = node("Softmax", ["scores"], ["p"], axis=1)
    ends = {
        "QuantizeLinear": [softmax_, node("QuantizeLinear", ["p", "s", "z"], ["out"])],
        "Cast": [softmax_, node("Cast", ["p"], ["out"], to=TensorProto.UINT8)],
        "QLinearSoftmax": [
            node("QuantizeLinear", ["scores", "q", "half"], ["bytes"]),
            node(
                "QLinearSoftmax", ["bytes", "q", "half", "s", "z"], ["out"], domain="com.microsoft", opset=18
            ),
        ],
    }[spelling]
    path = network(tmp_path / "net.onnx", ends, weights)
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, path)
    bare = network(tmp_path / "bare.onnx", [node("Softmax", ["scores"], ["out"], axis=1)])
    answer, _, notes = opened(path, labels=labels(*"abcde"))
    np.testing.assert_allclose(answer.probabilities(PIXELS), original(bare), atol=0.05)
    assert "output out is uint8 values" in notes


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.STRING])
def test_outputs_without_numbers_are_refused_in_words(tmp_path: Path, kind: int) -> None:
    ends = [node("Cast", ["scores"], ["whole"], to=TensorProto.INT64), node("Abs", ["whole"], ["out"])]
    if kind == TensorProto.STRING:
        ends.append(node("Cast", ["out"], ["text"], to=TensorProto.STRING))
    name = "text" if kind == TensorProto.STRING else "out"
    path = network(tmp_path / "net.onnx", ends, outputs=(name,))
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.elem_type = kind
    onnx.save(model, path)
    word = TensorProto.DataType.Name(kind).lower()
    with pytest.raises(
        ModelError, match=rf"its outputs are {name} \({word}\); expected numbers for each class"
    ):
        opened(path, labels=labels(*"abcde"))
