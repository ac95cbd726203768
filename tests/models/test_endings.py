"""What the outputs of a network mean, whatever they end in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from models.card import Label, ModelCard, card_of
from models.errors import InputError, ModelError
from models.features import default_cuts
from models.importing import ImportOptions, import_model
from models.model import Model
from models.runtime import OnnxSession, RuntimeConfig
from tests.models.nets import node, save

PIXELS = np.random.default_rng(3).integers(0, 256, (3, 32, 32, 3), np.uint8)
Array = NDArray[Any]


def labels(*names: str) -> tuple[Label, ...]:
    return tuple(Label(name, name) for name in names)


def network(
    path: Path,
    ends: list[NodeProto],
    weights: dict[str, Array] | None = None,
    *,
    classes: int = 5,
    outputs: tuple[str, ...] = ("out",),
    **options: Any,
) -> Path:
    """A convolution, a mean over positions, and a matrix product to `scores` (N, classes); behind it `ends`."""
    rng = np.random.default_rng(7)
    own = {
        "w": rng.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "head": rng.standard_normal((8, classes)).astype(np.float32),
    }
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("GlobalAveragePool", ["r"], ["gap"]),
        node("Flatten", ["gap"], ["flat"]),
        node("MatMul", ["flat", "head"], ["scores"]),
    ]
    return save(path, [*nodes, *ends], own | (weights or {}), outputs=outputs, **options)


def original(path: Path, output: str = "out") -> Array:
    """What the network gives by itself, fed with pixels from 0 to 1, an image at a time."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rows = [(PIXELS[i : i + 1] / 255).transpose(0, 3, 1, 2).astype(np.float32) for i in range(len(PIXELS))]
    return np.stack([np.asarray(session.run([output], {"x": row})[0]).ravel() for row in rows])


def opened(path: Path, **options: Any) -> tuple[Model, ModelCard, str]:
    proto, notes = import_model(path, ImportOptions(**{"scale": "0..1", **options}))
    card = card_of(proto)
    assert card is not None
    session = OnnxSession(proto.SerializeToString(), RuntimeConfig(device="cpu", threads=1))
    return Model(session, card), card, "\n".join(notes)


def softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


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
