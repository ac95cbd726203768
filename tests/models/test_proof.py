"""Stored inputs: what a file carries, what other machines may differ by, and entries that nobody of ours wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from models.errors import ModelError
from models.metadata import PROOF, drop_entries, put_entry
from models.model import Model
from models.proof import IMAGES, VALUES, StoredProof, kept, largest_gap, read_proof
from models.proof_making import precision_of, try_to_write_proof, write_proof
from models.runtime import RuntimeConfig
from models.truncation import cut_model
from tests.fixtures import COLOURS, tiny_classifier

CPU = RuntimeConfig("cpu", 1)


@pytest.fixture
def proto(tmp_path: Path) -> ModelProto:
    return onnx.load(tiny_classifier(tmp_path / "tiny.onnx"))


def opened(proto: ModelProto, folder: Path) -> Model:
    path = folder / "proven.onnx"
    path.write_bytes(proto.SerializeToString())
    return Model.open(path, CPU)


def changed(proto: ModelProto, factor: float) -> ModelProto:
    """The same network, its logits times `factor`."""
    for weight in proto.graph.initializer:
        if weight.name == "sharpness":
            weight.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(factor), "sharpness")
            )
    return proto


def test_the_file_gives_the_answers_that_it_carries(proto: ModelProto, tmp_path: Path) -> None:
    written = write_proof(proto)
    model = opened(proto, tmp_path)
    proof = read_proof(model.session.metadata)
    assert proof is not None
    np.testing.assert_array_equal(proof.inputs, written.inputs)
    assert proof.inputs.shape == (IMAGES, 16, 16, 3)
    assert len(np.unique(proof.outputs["logits"], axis=0)) == IMAGES  # no input like another
    gap = largest_gap(model, proof)
    assert gap.holds
    assert gap.difference == 0


def test_what_differs_is_named_with_input_and_class(proto: ModelProto, tmp_path: Path) -> None:
    proof = write_proof(proto)
    model = opened(changed(proto, 1.001), tmp_path)
    gap = largest_gap(model, proof)
    assert not gap.holds
    image, label = np.unravel_index(proof.outputs["logits"].argmax(), (IMAGES, 3))
    assert gap.difference == pytest.approx(1e-3, rel=1e-3)
    text = f"input {image + 1} of 8, logits of {list(COLOURS)[label]}: expected {gap.expected:.6g}, got {gap.got:.6g}"
    assert str(gap).startswith(text)
    assert gap.got == pytest.approx(gap.expected * 1.001)


@pytest.mark.parametrize(("device", "factor", "holds"), [
    ("cpu", 1 + 5e-5, True), ("cpu", 1 + 2e-4, False), ("cuda", 1 + 1e-2, True), ("cuda", 1 + 3e-2, False),
])  # fmt: skip
def test_the_allowance_is_that_of_the_device(
    device: str, factor: float, holds: bool, proto: ModelProto, tmp_path: Path
) -> None:
    proof = write_proof(proto)
    gap = largest_gap(opened(changed(proto, factor), tmp_path), proof)
    assert (gap.difference <= proof.tolerance(device)) == holds


def test_answers_that_are_not_numbers_never_hold(proto: ModelProto, tmp_path: Path) -> None:
    proof = write_proof(proto)
    gap = largest_gap(opened(changed(proto, np.nan), tmp_path), proof)
    assert gap.difference == np.inf
    assert not gap.holds


def test_small_inputs_fill_any_size() -> None:
    inputs = np.arange(IMAGES * 2 * 2 * 3, dtype=np.uint8).reshape(IMAGES, 2, 2, 3)
    images = StoredProof(inputs, {}, "float32", 0.0).images((5, 4))
    assert images.shape == (IMAGES, 5, 4, 3)
    assert images[0, :, :, 0].tolist() == [[0, 0, 3, 3]] * 3 + [[6, 6, 9, 9]] * 2  # enlarged
    assert images[1, :3, :, 0].tolist() == [[12, 15, 12, 15], [18, 21, 18, 21], [12, 15, 12, 15]]  # repeated


def test_of_wide_outputs_evenly_spaced_values_are_kept() -> None:
    wide = np.arange(2 * 3 * 1000, dtype=np.float32).reshape(2, 3, 1000)
    values = kept(wide)
    assert values.shape == (2, VALUES)
    assert values[0, 0] == 0
    assert 2990 < values[0, -1] < 3000


def test_an_entry_stays_small_whatever_the_network_takes(tmp_path: Path) -> None:
    large = onnx.load(tiny_classifier(tmp_path / "large.onnx", size=600))
    proof = write_proof(large)
    assert proof.inputs.shape == (IMAGES, 32, 32, 3)
    assert len(proof.to_json()) < 34_000


def test_what_was_measured_on_another_network_goes(proto: ModelProto) -> None:
    write_proof(proto)
    cut = cut_model(proto, ["pool"])
    assert PROOF not in {entry.key for entry in cut.metadata_props}
    write_proof(proto)
    assert sum(entry.key == PROOF for entry in proto.metadata_props) == 1
    drop_entries(proto)
    assert PROOF not in {entry.key for entry in proto.metadata_props}


def test_a_network_that_magnifies_rounding_gets_none_and_that_is_said(
    proto: ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which networks do depends on the processor's kernels: here the other order of computing gives another answer."""
    inputs = write_proof(proto).inputs
    answers = {True: np.ones((IMAGES, 3), np.float32), False: np.full((IMAGES, 3), 1.1, np.float32)}
    monkeypatch.setattr(
        "models.proof_making._answers", lambda model, optimized: ({"logits": answers[optimized]}, inputs)
    )
    text = try_to_write_proof(proto)
    assert text.startswith("no stored inputs: the network magnifies rounding: computed in another order")
    assert "differ by 0.1, so" in text
    assert "will not notice" in text
    assert PROOF not in {entry.key for entry in proto.metadata_props}
    answers[False] = np.full((IMAGES, 3), 1.001, np.float32)
    assert write_proof(proto).tolerance("cpu") == pytest.approx(8e-3, rel=1e-3)


def test_precision_is_that_of_the_computation_not_of_the_storage() -> None:
    def network(*nodes: onnx.NodeProto, kind: int = TensorProto.FLOAT16) -> ModelProto:
        weight = helper.make_tensor("w", kind, [1], [1.0])
        return helper.make_model(helper.make_graph(list(nodes), "g", [], [], [weight]))

    widened = helper.make_node("Cast", ["w"], ["wide"], to=TensorProto.FLOAT)
    assert precision_of(network(widened)) == "float32"
    assert precision_of(network(helper.make_node("Mul", ["w", "w"], ["y"]))) == "float16"
    assert precision_of(network(helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT16))) == "float16"
    assert precision_of(network(helper.make_node("QuantizeLinear", ["x", "s"], ["y"]))) == "int8"


def test_a_file_without_an_entry_has_none(proto: ModelProto, tmp_path: Path) -> None:
    assert read_proof(opened(proto, tmp_path).session.metadata) is None


def test_a_later_format_says_to_update(proto: ModelProto) -> None:
    values = json.loads(write_proof(proto).to_json()) | {"format": 2}
    with pytest.raises(
        ModelError, match=r"x\.onnx: its stored inputs: format 2; this version reads 1. Update"
    ):
        StoredProof.from_json(json.dumps(values), "x.onnx")


def _damaged(proof: StoredProof) -> list[str]:
    text = proof.to_json()
    values = json.loads(text)
    huge = {"shape": [8, 1 << 40, 1, 3], "data": values["inputs"]["data"]}
    short = {**values["inputs"], "shape": [8, 1, 1, 3]}
    return [
        "", "{}", "[]", "null", text[:-20],
        json.dumps(values | {"format": "1"}),
        json.dumps(values | {"precision": "float12"}),
        json.dumps(values | {"rounding": -1}),
        json.dumps(values | {"rounding": "much"}),
        json.dumps(values | {"outputs": {}}),
        json.dumps(values | {"outputs": {"logits": values["inputs"]}}),
        json.dumps(values | {"inputs": huge}),
        json.dumps(values | {"inputs": short}),
        json.dumps(values | {"inputs": {"shape": [8, -16, -16, 3], "data": ""}}),
        json.dumps(values | {"inputs": {"shape": [], "data": ""}}),
        json.dumps(values | {"inputs": {"shape": [8, 16, 16, 3], "data": "%%%"}}),
    ]  # fmt: skip


@pytest.mark.parametrize("case", range(16))
def test_a_damaged_entry_is_refused(case: int, proto: ModelProto) -> None:
    texts = _damaged(write_proof(proto))
    assert len(texts) == 16
    with pytest.raises(ModelError, match="its stored inputs cannot be read"):
        StoredProof.from_json(texts[case])


def test_an_entry_of_another_network_is_refused(proto: ModelProto, tmp_path: Path) -> None:
    proof = write_proof(proto)
    put_entry(
        proto, PROOF, StoredProof(proof.inputs, {"scores": proof.outputs["logits"]}, "float32", 0.0).to_json()
    )
    model = opened(proto, tmp_path)
    stored = read_proof(model.session.metadata)
    assert stored is not None
    with pytest.raises(ModelError, match="has stored answers of scores, and no such output"):
        largest_gap(model, stored)
    narrow = StoredProof(proof.inputs, {"logits": proof.outputs["logits"][:, :2]}, "float32", 0.0)
    with pytest.raises(ModelError, match="gives logits with 3 values an image, and 2 are stored"):
        largest_gap(model, narrow)
