"""What the outputs of a network mean, whatever they end in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from models.card import ModelCard
from models.errors import InputError, ModelError
from models.features import default_cuts
from models.importing import import_model
from tests.models.ended import PIXELS, labels, network, opened, original, softmax
from tests.models.nets import node

SHAPES = {
    "(N, C)": ([node("Softmax", ["scores"], ["out"], axis=1)], {}),
    "(N, C, 1, 1)": ([node("Reshape", ["scores", "s"], ["out"])], {"s": np.int64([0, 5, 1, 1])}),
    "(N, 1, 1, C)": ([node("Reshape", ["scores", "s"], ["out"])], {"s": np.int64([0, 1, 1, 5])}),
    "(N, 1, C)": ([node("Reshape", ["scores", "s"], ["out"])], {"s": np.int64([0, 1, 5])}),
    "(C,), any batch": ([node("Squeeze", ["scores"], ["out"])], {}),
    "(C,), one image": ([node("Reshape", ["scores", "s"], ["out"])], {"s": np.int64([5])}),
    "log-softmax": ([node("LogSoftmax", ["scores"], ["out"], axis=1)], {}),
    "softmax by hand": (
        [
            node("Exp", ["scores"], ["e"]),
            node("ReduceSum", ["e", "a"], ["sum"], keepdims=1),
            node("Div", ["e", "sum"], ["out"]),
        ],
        {"a": np.int64([1])},
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_classes_are_read_in_every_shape(tmp_path: Path, shape: str) -> None:
    ends, weights = SHAPES[shape]
    path = network(tmp_path / "net.onnx", list(ends), weights, shape=(1, 3, 32, 32))
    model, card, _ = opened(path, labels=labels("a", "b", "c", "d", "e"))
    expected = original(path)
    by_hand = shape in ("(N, C)", "softmax by hand")
    expected = expected if by_hand else softmax(expected)
    np.testing.assert_allclose(model.probabilities(PIXELS), expected, rtol=1e-4, atol=1e-6)
    assert card.task == "classification"


@pytest.mark.parametrize("end", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_a_network_that_ends_in_probabilities_has_classes_without_being_told(
    tmp_path: Path, end: str
) -> None:
    ends = [node("Relu", ["scores"], ["positive"]), node(end, ["positive"], ["out"])]
    _, card, _ = opened(network(tmp_path / "net.onnx", ends))
    assert len(card.labels) == 5


SIGMOIDS = {
    "a node": [node("Sigmoid", ["scores"], ["out"])],
    "a node behind a reshape": [node("Flatten", ["scores"], ["f"]), node("Sigmoid", ["f"], ["out"])],
    "by hand": [
        node("Neg", ["scores"], ["n"]),
        node("Exp", ["n"], ["e"]),
        node("Add", ["e", "one"], ["d"]),
        node("Div", ["one", "d"], ["out"]),
    ],
}


@pytest.mark.parametrize("spelling", SIGMOIDS)
def test_sigmoid_for_each_label_makes_independent_probabilities(tmp_path: Path, spelling: str) -> None:
    path = network(tmp_path / "net.onnx", SIGMOIDS[spelling], {"one": np.float32(1)})
    model, card, notes = opened(path, labels=labels("a", "b", "c", "d", "e"))
    assert card.task == "multilabel"
    np.testing.assert_allclose(model.probabilities(PIXELS), original(path), rtol=1e-4, atol=1e-6)
    assert "--task classify" in notes
    again = ModelCard.from_json(card.to_json())
    assert (again.task, '"format": 3' in card.to_json()) == ("multilabel", True)


def test_the_task_decides_over_a_sigmoid(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", SIGMOIDS["a node"])
    scores = network(tmp_path / "scores.onnx", [node("Identity", ["scores"], ["out"])])
    model, card, _ = opened(path, task="classify")
    assert card.task == "classification"
    np.testing.assert_allclose(model.probabilities(PIXELS), softmax(original(scores)), rtol=1e-4, atol=1e-6)
    model, card, _ = opened(scores, task="multilabel")
    assert card.task == "multilabel"
    np.testing.assert_allclose(model.probabilities(PIXELS), original(path), rtol=1e-4, atol=1e-6)
    with pytest.raises(ModelError, match="its classes exclude each other"):
        opened(network(tmp_path / "s.onnx", [node("Softmax", ["scores"], ["out"])]), task="multilabel")


@pytest.mark.parametrize("parts", [1, 100, 255])
def test_probabilities_in_parts_of_a_whole_are_recognised(tmp_path: Path, parts: int) -> None:
    ends = [
        node("Softmax", ["scores"], ["p"], axis=1),
        node("Mul", ["p", "parts"], ["m"]),
        node("Cast", ["m"], ["out"], to=TensorProto.UINT8),
    ]
    path = network(tmp_path / "net.onnx", ends[: 3 if parts == 255 else 2], {"parts": np.float32(parts)},
                   outputs=("out" if parts == 255 else "m",))  # fmt: skip
    if parts == 255:
        model = onnx.load(path)
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
        onnx.save(model, path)
    bare = network(tmp_path / "bare.onnx", [node("Softmax", ["scores"], ["out"], axis=1)])
    model_, card, notes = opened(path)
    assert len(card.labels) == 5
    assert f"since they sum to {parts}" in notes
    np.testing.assert_allclose(model_.probabilities(PIXELS), original(bare), rtol=1e-4, atol=1e-6)


def test_scores_that_happen_to_be_small_are_no_probabilities(tmp_path: Path) -> None:
    """As SqueezeNet ends: a mean over positions behind a Relu."""
    ends = [
        node("Conv", ["r", "classes"], ["maps"]),
        node("Relu", ["maps"], ["positive"]),
        node("GlobalAveragePool", ["positive"], ["means"]),
        node("Flatten", ["means"], ["out"]),
    ]
    weights = {"classes": np.random.default_rng(2).standard_normal((5, 8, 1, 1)).astype(np.float32) / 50}
    path = network(tmp_path / "net.onnx", ends, weights)
    model, card, _ = opened(path, labels=labels(*"abcde"))
    assert card.task == "classification"
    np.testing.assert_allclose(model.probabilities(PIXELS), softmax(original(path)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("end", ["sigmoid", "logit", "by hand"])
def test_one_number_is_two_classes(tmp_path: Path, end: str) -> None:
    ends = {
        "sigmoid": SIGMOIDS["a node"],
        "logit": [node("Identity", ["scores"], ["out"])],
        "by hand": SIGMOIDS["by hand"],
    }[end]
    path = network(tmp_path / "net.onnx", ends, {"one": np.float32(1)}, classes=1)
    model, card, notes = opened(path)
    yes = original(path)[:, 0]
    yes = 1 / (1 + np.exp(-yes)) if end == "logit" else yes
    expected = np.stack([1 - yes, yes], axis=1)
    np.testing.assert_allclose(model.probabilities(PIXELS), expected, rtol=1e-4, atol=1e-6)
    assert len(card.labels) == 2
    assert ("--task regression" in notes) == (end != "sigmoid")
    assert [label.name for label in opened(path, labels=labels("cat", "dog"))[1].labels] == ["cat", "dog"]
    assert [label.name for label in opened(path, labels=labels("dog"))[1].labels] == ["not dog", "dog"]
    with pytest.raises(ModelError, match="3 labels were given and the network has 1 outputs"):
        opened(path, labels=labels("a", "b", "c"))


def test_one_number_may_be_a_regression(tmp_path: Path) -> None:
    path = network(
        tmp_path / "net.onnx", [node("Identity", ["scores"], ["value"])], classes=1, outputs=("value",)
    )
    model, card, _ = opened(path, task="regression")
    assert card.task == "regression"
    assert model.is_regression
    np.testing.assert_allclose(model.values(PIXELS), original(path, "value")[:, 0], rtol=1e-4)
    with pytest.raises(ModelError, match="has 5 numbers for an image; a regression has one"):
        opened(network(tmp_path / "five.onnx", [node("Identity", ["scores"], ["out"])]), task="regression")


def test_softmax_over_one_value_is_refused(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", [node("Softmax", ["scores"], ["out"], axis=1)], classes=1)
    with pytest.raises(ModelError, match="a softmax over one value, which is the same for every image"):
        opened(path)


def several(path: Path) -> Path:
    """Features first, then an early head of as many classes, then the last."""
    rng = np.random.default_rng(8)
    weights = {"early": rng.standard_normal((3, 5)).astype(np.float32), "axes": np.int64([2, 3])}
    ends = [
        node("ReduceMean", ["x", "axes"], ["means"], keepdims=0),
        node("MatMul", ["means", "early"], ["aux"]),
        node("Identity", ["flat"], ["vector"]),
        node("Identity", ["scores"], ["out"]),
    ]
    return network(path, ends, weights, outputs=("vector", "aux", "out"))


def test_of_several_outputs_that_of_the_last_layer_is_read(tmp_path: Path) -> None:
    path = several(tmp_path / "net.onnx")
    model, _, notes = opened(path, labels=labels(*"abcde"))
    np.testing.assert_allclose(model.probabilities(PIXELS), softmax(original(path)), rtol=1e-4, atol=1e-6)
    assert "output out of vector, aux, out holds the classes (--output-name)" in notes
    model, _, _ = opened(path)
    np.testing.assert_allclose(model.probabilities(PIXELS), softmax(original(path)), rtol=1e-4, atol=1e-6)


def test_of_several_outputs_the_one_that_fits_the_labels_is_read(tmp_path: Path) -> None:
    path = several(tmp_path / "net.onnx")
    model, card, _ = opened(path, labels=labels(*"abcdefgh"))
    assert len(card.labels) == 8
    np.testing.assert_allclose(
        model.run(PIXELS, ["logits"])[0], original(path, "vector"), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(
        ModelError, match="none of its outputs has as many: vector with 8, aux with 5, out with 5"
    ):
        opened(path, labels=labels("a", "b"))


def test_the_output_that_was_named_is_read(tmp_path: Path) -> None:
    path = several(tmp_path / "net.onnx")
    model, _, _ = opened(path, labels=labels(*"abcde"), output_name="aux")
    np.testing.assert_allclose(model.run(PIXELS, ["logits"])[0], original(path, "aux"), rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="no output is called 'gone'; there is vector, aux, out"):
        opened(path, output_name="gone")


@pytest.mark.parametrize("names", [("cls_logits", "dist_logits"), ("one", "two")])
@pytest.mark.parametrize("end", ["logits", "softmax"])
def test_two_heads_are_averaged(tmp_path: Path, names: tuple[str, str], end: str) -> None:
    classes = 5 if "dist" in names[1] else 1000
    weights = {"second": np.random.default_rng(9).standard_normal((8, classes)).astype(np.float32)}
    op = "Identity" if end == "logits" else "Softmax"
    ends = [
        node("MatMul", ["flat", "second"], ["scores2"]),
        node(op, ["scores"], [names[0]]),
        node(op, ["scores2"], [names[1]]),
    ]
    path = network(tmp_path / "net.onnx", ends, weights, classes=classes, outputs=names)
    model, _, notes = opened(path)
    mean = (original(path, names[0]) + original(path, names[1])) / 2
    expected = mean if end == "softmax" else softmax(mean)
    np.testing.assert_allclose(model.probabilities(PIXELS), expected, rtol=1e-3, atol=1e-6)
    assert "are two heads, of which the mean is taken" in notes


def test_two_tasks_of_one_width_are_not_averaged(tmp_path: Path) -> None:
    weights = {"second": np.random.default_rng(9).standard_normal((8, 5)).astype(np.float32)}
    ends = [node("MatMul", ["flat", "second"], ["colour"]), node("Identity", ["scores"], ["kind"])]
    path = network(tmp_path / "net.onnx", ends, weights, outputs=("colour", "kind"))
    _, _, notes = opened(path)
    assert "of colour, kind holds the classes (--output-name)" in notes


@pytest.mark.parametrize("name", ["image_embeds", "pooler_output", "last_hidden_state"])
def test_embeddings_are_features_by_their_name(tmp_path: Path, name: str) -> None:
    ends = [node("Unsqueeze", ["scores", "one"], ["last_hidden_state"])]
    if name != "last_hidden_state":
        ends.append(node("Tanh", ["scores"], [name]))
    outputs = ("last_hidden_state",) if name == "last_hidden_state" else ("last_hidden_state", name)
    path = network(tmp_path / "net.onnx", ends, {"one": np.int64([1])}, outputs=outputs)
    proto, _ = import_model(path)
    model, card, _ = opened(path)
    assert card.task == "features"
    assert default_cuts(proto) == (name,)
    np.testing.assert_allclose(
        model.run(PIXELS, [name])[0].reshape(3, -1), original(path, name), rtol=1e-4, atol=1e-5
    )


def test_the_task_makes_features_of_classes(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", [node("Identity", ["scores"], ["logits"])], outputs=("logits",))
    model, card, _ = opened(path, task="features")
    assert (card.task, card.labels) == ("features", ())
    (values,) = model.run(PIXELS)
    np.testing.assert_allclose(values, original(path, "logits"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", ["features", "regression"])
def test_labels_never_vanish(tmp_path: Path, task: str) -> None:
    path = network(tmp_path / "net.onnx", [node("Identity", ["scores"], ["out"])])
    with pytest.raises(InputError, match=f"labels are for classes, and --task {task} has none"):
        opened(path, task=task, labels=labels(*"abcde"))
    maps = network(tmp_path / "maps.onnx", [], outputs=("r",))
    with pytest.raises(
        ModelError, match="5 labels were given, and none of its outputs has as many: r, no vector"
    ):
        opened(maps, labels=labels(*"abcde"))
    with pytest.raises(ModelError, match=r"its outputs are r \[1, 8, 30, 30\]; for --task classify"):
        opened(maps, task="classify")


def test_outputs_that_never_vary_are_told(tmp_path: Path) -> None:
    ends = [node("Mul", ["scores", "zero"], ["z"]), node("Softmax", ["z"], ["out"])]
    _, _, notes = opened(network(tmp_path / "net.onnx", ends, {"zero": np.float32(0)}))
    assert "its outputs are the same for a black image and for noise" in notes
    _, _, notes = opened(network(tmp_path / "good.onnx", [node("Softmax", ["scores"], ["out"])]))
    assert "the same" not in notes
