"""The values that a network takes for pixels, computed from its graph, read from its metadata, or guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from models.card import SCALES, card_of
from models.importing import ImportOptions, import_model
from models.model import Model
from models.runtime import OnnxSession, RuntimeConfig
from tests.models.nets import node, save

MEAN, STD = (np.float32(values).reshape(3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
CAFFE_BGR = np.float32([103.939, 116.779, 123.68]).reshape(3, 1, 1)
Spelling = tuple[list[NodeProto], dict[str, NDArray[Any]]]


def chain(*steps: tuple[str, Any]) -> Spelling:
    """Arithmetic on `x`, one operator behind the other, that ends in `first`."""
    nodes, weights, last = [], {}, "x"
    for i, (op, value) in enumerate(steps):
        name = "first" if i == len(steps) - 1 else f"t{i}"
        inputs = [last]
        if value is not None:
            weights[f"c{i}"] = np.asarray(value, np.int64 if op in ("Pad",) else np.float32)
            inputs.append(f"c{i}")
        nodes.append(node(op, inputs, [name]))
        last = name
    return nodes, weights


def transform_input() -> Spelling:
    """As torchvision's InceptionV3 and GoogLeNet do it: channel by channel."""
    nodes, weights = [], {"axis": np.int64([1])}
    for i in range(3):
        weights |= {f"i{i}": np.int64(i), f"m{i}": STD[i, 0] / 0.5, f"a{i}": (MEAN[i, 0] - 0.5) / 0.5}
        nodes += [
            node("Gather", ["x", f"i{i}"], [f"g{i}"], axis=1),
            node("Unsqueeze", [f"g{i}", "axis"], [f"u{i}"]),
            node("Mul", [f"u{i}", f"m{i}"], [f"s{i}"]),
            node("Add", [f"s{i}", f"a{i}"], [f"p{i}"]),
        ]
    return [*nodes, node("Concat", ["p0", "p1", "p2"], ["first"], axis=1)], weights


def batch_norm() -> Spelling:
    weights = {"g": np.float32([1, 1, 1]), "b": np.float32([0, 0, 0])}
    weights |= {"m": MEAN.ravel() * 255, "v": (STD.ravel() * 255) ** 2}
    return [node("BatchNormalization", ["x", "g", "b", "m", "v"], ["first"], epsilon=1e-12)], weights


def reversed_inside() -> Spelling:
    weights = {"order": np.int64([2, 1, 0]), "mean": CAFFE_BGR}
    return [node("Gather", ["x", "order"], ["r"], axis=1), node("Sub", ["r", "mean"], ["first"])], weights


def reversed_by_indices() -> Spelling:
    """As the exporter of PyTorch 2.13 spells x[:, [2, 1, 0]]."""
    weights = {"places": np.int64([[2], [1], [0]]), "mean": CAFFE_BGR}
    nodes = [
        node("Transpose", ["x"], ["front"], perm=[1, 0, 2, 3]),
        node("GatherND", ["front", "places"], ["g"], batch_dims=0),
        node("Transpose", ["g"], ["r"], perm=[1, 0, 2, 3]),
        node("Sub", ["r", "mean"], ["first"]),
    ]
    return nodes, weights


def with_sizes() -> Spelling:
    """A shape that is computed on the way, and a constant that a node makes."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Reshape", ["x", "shape"], ["same"]),
        node("Constant", [], ["half"], value_float=0.5),
        node("Sub", ["same", "half"], ["t"]),
        node("Div", ["t", "half"], ["first"]),
    ]
    return nodes, {}


CASES: dict[str, tuple[Spelling, str, str]] = {
    "mean and deviation": (chain(("Sub", MEAN), ("Div", STD)), "0..1", "rgb"),
    "mean and deviation, blue first": (chain(("Sub", MEAN[::-1]), ("Div", STD[::-1])), "0..1", "bgr"),
    "half": (chain(("Sub", 0.5), ("Div", 0.5)), "0..1", "rgb"),
    "twice less one": (chain(("Mul", 2), ("Sub", 1)), "0..1", "rgb"),
    "times 255": (
        chain(
            ("Mul", 255),
        ),
        "0..1",
        "rgb",
    ),
    "by 255": (
        chain(
            ("Div", 255),
        ),
        "0..255",
        "rgb",
    ),
    "by 255, mean and deviation": (chain(("Mul", 1 / 255), ("Sub", MEAN), ("Div", STD)), "0..255", "rgb"),
    "127 and 128": (chain(("Sub", 127), ("Div", 128)), "0..255", "rgb"),
    "127.5, padded": (chain(("Div", 127.5), ("Sub", 1), ("Pad", [0, 0, 1, 1, 0, 0, 1, 1])), "0..255", "rgb"),
    "from -1..1 to 0..1": (chain(("Add", 1), ("Div", 2)), "-1..1", "rgb"),
    "transform_input": (transform_input(), "imagenet", "rgb"),
    "batch norm": (batch_norm(), "0..255", "rgb"),
    "Caffe's mean": (
        chain(
            ("Sub", CAFFE_BGR),
        ),
        "0..255",
        "bgr",
    ),
    "reversed inside": (reversed_inside(), "0..255", "rgb"),
    "reversed by indices": (reversed_by_indices(), "0..255", "rgb"),
    "clipped": (
        (
            [
                node("Clip", ["x", "low", "high"], ["k"]),
                node("Sub", ["k", "m"], ["t"]),
                node("Div", ["t", "s"], ["first"]),
            ],
            {"low": np.float32(0), "high": np.float32(1), "m": MEAN, "s": STD},
        ),
        "0..1",
        "rgb",
    ),
    "sizes on the way": (with_sizes(), "0..1", "rgb"),
}


def network(path: Path, spelling: Spelling, **options: Any) -> Path:
    nodes, weights = spelling
    weights = {"w": np.random.default_rng(3).standard_normal((4, 3, 3, 3)).astype(np.float32)} | weights
    behind = [
        node("Conv", ["first", "w"], ["c"]),
        node("GlobalAveragePool", ["c"], ["gap"]),
        node("Flatten", ["gap"], ["flat"]),
        node("Gemm", ["flat", "eye"], ["out"]),
    ]
    return save(path, [*nodes, *behind], {"eye": np.eye(4, dtype=np.float32)} | weights, **options)


@pytest.mark.parametrize("case", CASES)
def test_scale_is_computed_however_it_is_spelt(tmp_path: Path, case: str) -> None:
    spelling, scale, channels = CASES[case]
    model, notes = import_model(network(tmp_path / "net.onnx", spelling))
    card = card_of(model)
    assert card is not None
    assert (card.normalization, card.channels) == (SCALES[scale], channels)  # type: ignore[index]
    assert any(note.startswith("computed: pixels") for note in notes)
    assert not any("guessed: pixels" in note for note in notes)


def test_keras_networks_take_bytes_as_floats_channels_last(tmp_path: Path) -> None:
    nodes = [
        node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        node("Mul", ["f", "scale"], ["s"]),
        node("Add", ["s", "offset"], ["o"]),
        node("Transpose", ["o"], ["first"], perm=[0, 3, 1, 2]),
    ]
    weights = {"scale": np.float32(1 / 127.5), "offset": np.float32(-1)}
    model, notes = import_model(
        network(tmp_path / "net.onnx", (nodes, weights), shape=("N", 32, 32, 3), kind=TensorProto.FLOAT16)
    )
    card = card_of(model)
    assert card is not None
    assert card.normalization == SCALES["0..255"]
    assert any("of which the network itself makes -1..1" in note for note in notes)


LIKELY: dict[str, tuple[Spelling, str]] = {
    # keras EfficientNet, not trained: Rescaling, a Normalization of mean 0 and variance 1, Rescaling
    "an unusual factor": (chain(("Mul", 1 / 255), ("Mul", 1 / np.sqrt(STD))), "0..255"),
    "an unusual factor on 0..1": (chain(("Sub", 0.4), ("Mul", 3.3)), "0..1"),
    # MXNet's first batch norm, which learned
    "nearly nothing": (
        chain(("Sub", np.float32([0.01, 0.03, -0.02]).reshape(3, 1, 1)), ("Mul", 0.8)),
        "imagenet",
    ),
}


@pytest.mark.parametrize("case", LIKELY)
def test_arithmetic_that_is_no_convention_decides_what_is_likeliest(tmp_path: Path, case: str) -> None:
    spelling, scale = LIKELY[case]
    model, notes = import_model(network(tmp_path / "net.onnx", spelling))
    card = card_of(model)
    assert card is not None
    assert card.normalization == SCALES[scale]  # type: ignore[index]
    (note,) = (note for note in notes if "--scale" in note)
    assert "guessed" in note
    assert "by the arithmetic that the network begins with" in note


@pytest.mark.parametrize(
    "spelling",
    [
        chain(("Identity", None)),
        chain(("Mul", 1), ("Add", 0)),
        ([node("Mul", ["x", "x"], ["first"])], {}),  # not affine
        ([node("ReduceMean", ["x"], ["g"], keepdims=1), node("Sub", ["x", "g"], ["first"])], {}),
    ],
)
def test_what_the_file_does_not_say_is_told_with_its_alternatives(tmp_path: Path, spelling: Spelling) -> None:
    model, notes = import_model(network(tmp_path / "net.onnx", spelling))
    card = card_of(model)
    assert card is not None
    assert card.normalization == SCALES["imagenet"]
    (note,) = (note for note in notes if "--scale" in note)
    assert "as most networks take them" in note
    for alternative in ("-1..1, 0..1, 0..255", "--channels bgr", "--check PHOTO"):
        assert alternative in note


@pytest.mark.parametrize(
    ("scale", "zero", "expected"),
    [(0.0187, 114, "imagenet"), (1 / 127.5, 128, "-1..1"), (1 / 255, 0, "0..1"), (1.0, 0, "0..255")],
)
def test_range_of_a_quantised_input_tells_the_scale(
    tmp_path: Path, scale: float, zero: int, expected: str
) -> None:
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["first"]),
    ]
    path = network(tmp_path / "net.onnx", (nodes, {"s": np.float32(scale), "z": np.uint8(zero)}))
    model, notes = import_model(path)
    card = card_of(model)
    assert card is not None
    assert card.normalization == SCALES[expected]  # type: ignore[index]
    assert any("by the range of its quantised input" in note for note in notes)


def with_metadata(path: Path, **metadata: str) -> Path:
    model = onnx.load(path)
    for key, value in metadata.items():
        model.metadata_props.add(key=key.replace("_in_", "."), value=value)
    onnx.save(model, path)
    return path


def test_metadata_of_custom_vision_is_read(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", chain(("Identity", None)))
    with_metadata(path, Image_in_BitmapPixelFormat="Bgr8", Image_in_NominalPixelRange="NominalRange_0_255")
    model, notes = import_model(path)
    card = card_of(model)
    assert card is not None
    assert (card.normalization, card.channels) == (SCALES["0..255"], "bgr")
    assert "read from its metadata: pixels 0..255, bgr" in notes


def test_ultralytics_classifier_explains_itself(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", chain(("Identity", None)), shape=("N", 3, "H", "W"))
    names = "{0: 'a', 1: 'b', 2: 'c', 3: 'd'}"
    with_metadata(path, author="Ultralytics", task="classify", imgsz="[32, 48]", names=names)
    model, _ = import_model(path)
    card = card_of(model)
    assert card is not None
    how = card.preprocessing
    assert (how.size, how.resize, how.resize_to, card.normalization) == (
        (32, 48),
        "shorter",
        None,
        SCALES["0..1"],
    )
    assert [label.name for label in card.labels] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_blue_first_and_caffe_agree_with_the_original(tmp_path: Path, layout: str) -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (2, 32, 32, 3), np.uint8)
    first = [node("Identity" if layout == "nchw" else "Transpose", ["x"], ["first"])]
    if layout == "nhwc":
        first = [node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2])]
    shape = ("N", 3, 32, 32) if layout == "nchw" else ("N", 32, 32, 3)
    path = network(tmp_path / "net.onnx", (first, {}), shape=shape)
    proto, notes = import_model(path, ImportOptions(scale="caffe"))
    card = card_of(proto)
    assert card is not None
    assert card.channels == "bgr"
    assert any("blue comes first" in note for note in notes)
    fed = pixels[..., ::-1] - CAFFE_BGR.ravel()
    fed = (fed.transpose(0, 3, 1, 2) if layout == "nchw" else fed).astype(np.float32)
    expected = onnxruntime.InferenceSession(str(path)).run(None, {"x": fed})[0]
    session = OnnxSession(proto.SerializeToString(), RuntimeConfig(device="cpu", threads=1))
    np.testing.assert_allclose(
        Model(session, card).run(pixels, ["logits"])[0], expected, rtol=1e-4, atol=1e-3
    )


def test_scale_that_contradicts_the_graph_is_taken_and_told(tmp_path: Path) -> None:
    path = network(tmp_path / "net.onnx", chain(("Div", 255)))
    model, notes = import_model(path, ImportOptions(scale="imagenet"))
    card = card_of(model)
    assert card is not None
    assert card.normalization == SCALES["imagenet"]
    assert "--scale imagenet was asked for; by its graph the network takes pixels 0..255" in notes


def test_sides_come_from_the_file_as_far_as_it_says_them(tmp_path: Path) -> None:
    nodes = [node("ReduceMean", ["x", "axes"], ["out"], keepdims=0)]
    weights = {"axes": np.int64([2, 3])}
    path = save(tmp_path / "net.onnx", nodes, weights, shape=("N", 3, 160, "W"))
    model, _ = import_model(path)
    card = card_of(model)
    assert card is not None
    assert card.preprocessing.size == (160, 160)
    model, _ = import_model(path, ImportOptions(size=(160, 320)))
    card = card_of(model)
    assert card is not None
    assert card.preprocessing.size == (160, 320)
