from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from models.card import SCALES, Label, Normalization, read_card
from models.errors import InputError, ModelError
from models.importing import ImportOptions, import_model
from models.model import Model
from models.runtime import OnnxSession, RuntimeConfig
from tests.models.nets import node, residual_net, save

CPU = RuntimeConfig(device="cpu", threads=1)


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (4, 32, 32, 3), np.uint8)


def opened(path: Path, options: ImportOptions | None = None) -> tuple[Model, tuple[str, ...]]:
    proto, notes = import_model(path, options)
    onnx.checker.check_model(proto, full_check=True)
    session = OnnxSession(proto.SerializeToString(), CPU)
    card = read_card(session.metadata)
    assert card is not None
    return Model(session, card), notes


def reference(path: Path, pixels: NDArray[np.uint8], scale: Normalization) -> NDArray[np.float32]:
    """What the network says by itself, fed as its author feeds it."""
    x = (pixels / 255 - np.array(scale.mean)) / np.array(scale.std)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    x = x if source.shape[-1] == 3 else x.transpose(0, 3, 1, 2)  # (N, H, W, C) to (N, C, H, W)
    rows = len(x) if not isinstance(source.shape[0], int) else source.shape[0]
    parts = [x[i : i + rows].astype(np.float32) for i in range(0, len(x), rows)]
    return np.concatenate([session.run(None, {source.name: part})[0] for part in parts]).reshape(len(x), -1)


@pytest.mark.parametrize("end", ["softmax", "logits", "conv"])
@pytest.mark.parametrize("scale", ["imagenet", "-1..1", "0..255"])
def test_imported_classifier_agrees_with_the_original(
    tmp_path: Path, pixels: NDArray[np.uint8], end: str, scale: str
) -> None:
    path = residual_net(tmp_path / "net.onnx", end=end)
    model, _ = opened(path, ImportOptions(scale=scale))  # type: ignore[arg-type]
    expected = reference(path, pixels, SCALES[scale])
    logits, probabilities = model.run(pixels, ["logits", "probabilities"])
    if end == "logits":
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    else:
        np.testing.assert_allclose(probabilities, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert model.card.task == "classification"
    assert [cut.name for cut in model.card.cuts] == ["block", "pool"]


def test_nothing_unused_is_kept(tmp_path: Path) -> None:
    proto, _ = import_model(residual_net(tmp_path / "net.onnx"))
    assert "unused" not in {value.name for value in proto.graph.initializer}


def test_names_that_are_taken_are_moved_away(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    nodes = [
        node("Relu", ["image"], ["probabilities"]),
        node("GlobalAveragePool", ["probabilities"], ["gap"]),
        node("Flatten", ["gap"], ["flat"]),
        node("Softmax", ["flat"], ["logits"], axis=1),
    ]
    path = save(tmp_path / "net.onnx", nodes, {}, input_name="image", outputs=("logits",))
    model, _ = opened(path, ImportOptions(scale="0..1"))
    expected = reference(path, pixels, SCALES["0..1"])
    np.testing.assert_allclose(model.probabilities(pixels), expected, rtol=1e-4, atol=1e-6)


def test_output_that_holds_probabilities_without_a_softmax(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    nodes = [
        node("GlobalAveragePool", ["x"], ["gap"]),
        node("Flatten", ["gap"], ["flat"]),
        node("Softmax", ["flat"], ["p"], axis=1),
        node("Mul", ["p", "one"], ["out"]),
    ]
    path = save(tmp_path / "net.onnx", nodes, {"one": np.float32([1])})
    labels = tuple(Label(name, name) for name in "rgb")
    model, notes = opened(path, ImportOptions(scale="0..1", labels=labels))
    assert any("sum to 1" in note for note in notes)
    np.testing.assert_allclose(
        model.probabilities(pixels), reference(path, pixels, SCALES["0..1"]), rtol=1e-4, atol=1e-6
    )


def test_fixed_batch_is_freed_where_the_network_bears_it(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    path = residual_net(tmp_path / "net.onnx", shape=(1, 3, 32, 32))
    model, _ = opened(path, ImportOptions(scale="0..1"))
    assert model.card.batch_size is None
    np.testing.assert_allclose(
        model.probabilities(pixels), reference(path, pixels, SCALES["0..1"]), rtol=1e-4, atol=1e-5
    )


def test_fixed_batch_stays_where_the_network_needs_it(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    nodes = [
        node("GlobalAveragePool", ["x"], ["gap"]),
        node("Flatten", ["gap"], ["flat"]),
        node("Mul", ["flat", "rows"], ["scaled"]),  # each row by something else
        node("Softmax", ["scaled"], ["out"], axis=1),
    ]
    rows = np.arange(9, dtype=np.float32).reshape(3, 3)
    path = save(tmp_path / "net.onnx", nodes, {"rows": rows}, shape=(3, 3, 32, 32))
    model, _ = opened(path, ImportOptions(scale="0..1"))
    assert model.card.batch_size == 3
    probabilities = model.probabilities(pixels)  # 4 images: one run of 3, one of 1 padded to 3
    scaled = pixels.mean((1, 2)) / 255 * rows[[0, 1, 2, 0]]
    expected = np.exp(scaled) / np.exp(scaled).sum(1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-4)


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.FLOAT16])
def test_other_input_types(tmp_path: Path, pixels: NDArray[np.uint8], kind: int) -> None:
    nodes = [
        node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        node("ReduceMean", ["float", "axes"], ["flat"], keepdims=0),
        node("Softmax", ["flat"], ["out"], axis=1),
    ]
    axes = {"axes": np.int64([1, 2])}
    path = save(tmp_path / "net.onnx", nodes, axes, shape=("N", 32, 32, 3), kind=kind)
    model, notes = opened(path, None if kind == TensorProto.UINT8 else ImportOptions(scale="0..1"))
    assert not any("--scale" in note for note in notes)
    means = pixels.mean((1, 2)) / (1 if kind == TensorProto.UINT8 else 255)
    expected = np.exp(means - means.max(1, keepdims=True))
    np.testing.assert_allclose(
        model.probabilities(pixels), expected / expected.sum(1, keepdims=True), rtol=2e-3, atol=1e-5
    )


def test_features_network(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    path = residual_net(tmp_path / "net.onnx", end="features")
    model, notes = opened(path, ImportOptions(scale="0..1"))
    assert model.card.task == "features"
    assert any("features, not classes" in note for note in notes)
    np.testing.assert_allclose(
        model.run(pixels)[0], reference(path, pixels, SCALES["0..1"]), rtol=1e-4, atol=1e-4
    )
    with pytest.raises(ModelError, match="gives features"):
        model.probabilities(pixels)


def test_guesses_are_said_and_options_silence_them(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx", shape=("N", 3, "H", "W"))
    _, notes = opened(path)
    said = " ".join(notes)
    for word in ("--size", "--labels", "--scale", "--resize"):
        assert word in said
    labels = tuple(Label(str(i), str(i)) for i in range(5))
    options = ImportOptions(labels=labels, size=(32, 32), resize="squash", scale="0..1")
    model, notes = opened(path, options)
    assert notes == ()
    assert model.card.preprocessing.size == (32, 32)
    assert model.card.preprocessing.resize == "squash"


def test_images_cover_an_input_that_is_not_square(tmp_path: Path) -> None:
    nodes = [node("ReduceMean", ["x", "axes"], ["out"], keepdims=0)]
    path = save(tmp_path / "net.onnx", nodes, {"axes": np.int64([2, 3])}, shape=("N", 3, 28, 56))
    model, _ = opened(path)
    assert model.card.preprocessing.size == (28, 56)
    assert model.card.preprocessing.resize_to == 64  # the longer side / 0.875


def test_guesses_that_quote_a_hostile_name_can_be_printed(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.node.append(node("Identity", ["x"], ["\x1b[31m"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("\x1b[31m", TensorProto.FLOAT, None))
    onnx.save(model, path)
    _, notes = import_model(path)
    assert "guessed: output out of out, ?[31m holds the classes (--output-name)" in notes


def test_labels_file_beside_the_network(tmp_path: Path) -> None:
    (tmp_path / "net_labels.txt").write_text("a\nb\nb\nd\ne\n", encoding="utf-8")
    (tmp_path / "other_labels.txt").write_text("1\n2\n3\n4\n5\n", encoding="utf-8")
    model, notes = opened(residual_net(tmp_path / "net_v2.onnx"))
    assert [label.name for label in model.card.labels] == ["a", "b", "b", "d", "e"]
    assert len({label.id for label in model.card.labels}) == 5
    assert any("net_labels.txt" in note for note in notes)


def test_labels_in_the_metadata_go_before_files_beside(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx")
    (tmp_path / "labels.txt").write_text("1\n2\n3\n4\n5\n", encoding="utf-8")
    model = onnx.load(path)
    model.metadata_props.add(key="names", value="{0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e'}")
    onnx.save(model, path)
    opened_model, notes = opened(path)
    assert [label.name for label in opened_model.card.labels] == ["a", "b", "c", "d", "e"]
    assert "guessed: labels from its metadata, 'names' (--labels)" in notes


def test_labels_beside_that_do_not_fit_are_told(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\nb\n", encoding="utf-8")
    (tmp_path / "config.json").write_text('{"hidden": 3}', encoding="utf-8")
    model, notes = opened(residual_net(tmp_path / "net.onnx"))
    assert model.card.labels[0].name == "class 0"
    assert "labels.txt beside it has 2 labels for 5 classes: not used (--labels)" in notes


@pytest.mark.parametrize(("classes", "first"), [(1000, "tench, Tinca tinca"), (1001, "background")])
def test_imagenet_is_recognised_by_its_width(tmp_path: Path, classes: int, first: str) -> None:
    model, notes = opened(residual_net(tmp_path / "net.onnx", classes=classes))
    assert model.card.labels[0].name == first
    assert any("ImageNet" in note for note in notes)


def test_older_opset_is_lifted(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    path = residual_net(tmp_path / "net.onnx", opset=11)
    proto, _ = import_model(path)
    assert proto.opset_import[0].version == 18
    model, _ = opened(path, ImportOptions(scale="0..1"))
    np.testing.assert_allclose(
        model.probabilities(pixels), reference(path, pixels, SCALES["0..1"]), rtol=1e-4, atol=1e-5
    )


def test_hostile_files(tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"not a network")
    with pytest.raises(ModelError, match="not a valid ONNX model"):
        import_model(bad)
    good = residual_net(tmp_path / "net.onnx")
    bad.write_bytes(good.read_bytes()[:-100])
    with pytest.raises(ModelError, match="not a valid ONNX model"):
        import_model(bad)
    text = save(
        tmp_path / "text.onnx",
        [node("Identity", ["x"], ["out"])],
        {},
        shape=("N", 77),
        kind=TensorProto.INT64,
    )
    with pytest.raises(ModelError, match="expected images"):
        import_model(text)
    grey = save(tmp_path / "grey.onnx", [node("Identity", ["x"], ["out"])], {}, shape=("N", 1, 28, 28))
    with pytest.raises(ModelError, match="3 colours"):
        import_model(grey)
    with pytest.raises(ModelError, match="2 labels were given and the network has 5 outputs"):
        import_model(good, ImportOptions(labels=(Label("a", "a"), Label("b", "b"))))
    with pytest.raises(ModelError, match=r"takes \(32, 32\) only"):
        import_model(good, ImportOptions(size=(64, 64)))


def test_scale_of_a_network_that_takes_bytes_is_refused(tmp_path: Path) -> None:
    nodes = [node("Cast", ["x"], ["out"], to=TensorProto.FLOAT)]
    path = save(tmp_path / "net.onnx", nodes, {}, kind=TensorProto.UINT8)
    with pytest.raises(InputError, match="takes bytes, which are not scaled; leave --scale out"):
        import_model(path, ImportOptions(scale="imagenet"))


@pytest.mark.parametrize("shape", [(1, 3, 10**9, 10**9), ("N", 3, "H", "W")])
def test_images_that_no_memory_holds_are_refused(tmp_path: Path, shape: tuple[Any, ...]) -> None:
    path = save(tmp_path / "net.onnx", [node("Identity", ["x"], ["out"])], {}, shape=shape)
    options = ImportOptions(size=(10**5, 10**5)) if "H" in shape else None
    with pytest.raises(ModelError, match="expected at most 8192 a side"):
        import_model(path, options)


def test_batch_that_no_memory_holds_is_refused(tmp_path: Path) -> None:
    nodes = [node("Reshape", ["x", "shape"], ["out"])]
    shape = {"shape": np.int64([10**9, 3072])}
    path = save(tmp_path / "net.onnx", nodes, shape, shape=(10**9, 3, 32, 32))
    with pytest.raises(ModelError, match="takes 1,000,000,000 images at a time; expected at most 4096"):
        import_model(path)


def test_outputs_without_a_row_an_image_are_left_out(tmp_path: Path) -> None:
    extra = [
        node("ReduceSum", ["x"], ["total"], keepdims=0),
        node("SequenceConstruct", ["x", "x"], ["list"]),
    ]
    path = save(tmp_path / "none.onnx", extra, {}, shape=(1, 3, 32, 32), outputs=("total",))
    with pytest.raises(ModelError, match="its outputs are total, none of them a tensor with a row"):
        import_model(path)
    nodes = [*extra, node("ReduceMean", ["x", "axes"], ["out"], keepdims=0)]
    weights = {"axes": np.int64([2, 3])}
    path = save(tmp_path / "net.onnx", nodes, weights, shape=(1, 3, 32, 32), outputs=("total", "out"))
    model, _ = opened(path)
    assert model.session.outputs == ["out"]
    assert model.card.batch_size is None


def test_two_inputs(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.input.append(onnx.helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N"]))
    model.graph.node.append(node("Mul", ["out", "mask"], ["masked"]))
    model.graph.output[0].name = "masked"
    onnx.save(model, path)
    with pytest.raises(ModelError, match="its inputs are x, mask; expected one image"):
        import_model(path)


def test_inputs_that_nothing_reads_are_left_out_and_told(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    path = residual_net(tmp_path / "net.onnx", end="logits")
    expected = reference(path, pixels, SCALES["imagenet"])
    model = onnx.load(path)
    for name in ("normalization/Sub/y:0", "normalization/Sqrt/x:0"):  # as Keras exports its EfficientNets
        model.graph.input.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 1, 3]))
    onnx.save(model, path)
    imported, notes = opened(path)
    np.testing.assert_allclose(imported.run(pixels, ["logits"])[0], expected, rtol=1e-4, atol=1e-4)
    assert any(
        "reads them: its inputs normalization/Sub/y:0, normalization/Sqrt/x:0" in note for note in notes
    )


def test_import_of_an_imported_file_keeps_its_card(tmp_path: Path) -> None:
    proto, _ = import_model(residual_net(tmp_path / "net.onnx"), ImportOptions(name="mine"))
    onnx.save(proto, tmp_path / "mine.onnx")
    model = Model.open(tmp_path / "mine.onnx", CPU)
    assert (model.card.name, model.notes) == ("mine", ())
    with pytest.raises(InputError, match="explains itself already"):
        import_model(tmp_path / "mine.onnx")
    again = Model.open(tmp_path / "mine.onnx", CPU, outputs=["pool"])
    assert again.card == dataclasses.replace(model.card, task="features", labels=(), cuts=again.card.cuts)
