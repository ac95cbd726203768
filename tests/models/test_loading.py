"""ONNX files as others leave them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, helper

from models.card import card_of
from models.errors import ModelError
from models.importing import as_graft_model, import_model
from models.loading import data_files, digest, load, octets, sort
from models.model import _IR_VERSION, Model
from models.opset import IR_VERSION
from models.runtime import RuntimeConfig
from tests.models.nets import residual_net

CPU = RuntimeConfig(device="cpu", threads=1)
PIXELS = np.random.default_rng(5).integers(0, 256, (2, 32, 32, 3), np.uint8)


def apart(folder: Path) -> tuple[Path, Path]:
    """A network with its weights in a file beside it."""
    folder.mkdir(exist_ok=True)
    path = residual_net(folder / "net.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    return path, folder / "net.onnx.data"


def test_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    path, _ = apart(tmp_path)
    whole = Model.open(residual_net(tmp_path / "whole.onnx"), CPU).run(PIXELS)
    for got, want in zip(Model.open(path, CPU).run(PIXELS), whole, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_size_is_that_of_all_its_files(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx")
    assert octets(path) == path.stat().st_size
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert octets(path) == path.stat().st_size + (tmp_path / "weights.bin").stat().st_size


def test_weights_of_constant_nodes_beside_the_file_are_read(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx")
    whole = Model.open(path, CPU).run(PIXELS)
    model = onnx.load(path)
    constants = [
        helper.make_node("Constant", [], [weight.name], value=weight) for weight in model.graph.initializer
    ]
    nodes = [*constants, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(
        model, path, save_as_external_data=True, location="net.data", size_threshold=0, convert_attribute=True
    )
    assert [file.name for file in data_files(onnx.load(path, load_external_data=False), path)] == ["net.data"]
    for got, want in zip(Model.open(path, CPU).run(PIXELS), whole, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5)
    data = tmp_path / "net.data"
    assert digest(path) == hashlib.sha256(path.read_bytes() + data.read_bytes()).hexdigest()
    data.unlink()
    with pytest.raises(ModelError, match=r"its weights lie in net\.data, which is not beside it"):
        load(path)


@pytest.mark.parametrize("use", [load, as_graft_model, lambda path: Model.open(path, CPU)])
def test_weights_that_are_missing_are_named(tmp_path: Path, use: object) -> None:
    path, data = apart(tmp_path)
    data.unlink()
    with pytest.raises(ModelError, match=r"its weights lie in net\.onnx\.data, which is not beside it"):
        use(path)  # type: ignore[operator]


def test_weights_that_are_cut_off_are_refused(tmp_path: Path) -> None:
    path, data = apart(tmp_path)
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(ModelError, match="not a valid ONNX model"):
        load(path)


def test_weights_outside_of_the_folder_are_refused(tmp_path: Path) -> None:
    path, data = apart(tmp_path / "in")
    data.rename(tmp_path / "net.onnx.data")
    model = onnx.load(path, load_external_data=False)
    for weight in model.graph.initializer:
        next(entry for entry in weight.external_data if entry.key == "location").value = "../net.onnx.data"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="not a valid ONNX model"):
        load(path)


def test_the_digest_is_of_the_weights_too(tmp_path: Path) -> None:
    path, data = apart(tmp_path)
    expected = hashlib.sha256(path.read_bytes() + data.read_bytes()).hexdigest()
    card = card_of(import_model(path)[0])
    assert card is not None
    assert digest(path) == card.weights_sha256 == expected
    changed = bytearray(data.read_bytes())
    changed[40] ^= 1
    data.write_bytes(changed)
    assert digest(path) != expected
    whole = residual_net(tmp_path / "whole.onnx")
    assert digest(whole) == hashlib.sha256(whole.read_bytes()).hexdigest()


def test_nodes_come_in_an_order_in_which_they_can_run(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx")
    model = onnx.load(path)
    nodes = [each.op_type for each in model.graph.node]
    reverse = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(reverse)
    onnx.save(model, path)
    assert [each.op_type for each in load(path).graph.node] == nodes
    card = card_of(as_graft_model(path)[0])
    assert card is not None
    assert [cut.name for cut in card.cuts] == ["block", "pool"]


def chain(count: int) -> list[NodeProto]:
    return [helper.make_node("Relu", [f"t{i}"], [f"t{i + 1}"]) for i in range(count)]


def test_many_nodes_in_disorder_are_sorted_in_one_go() -> None:
    nodes = chain(20_000)
    graph = helper.make_graph(nodes[::-1], "net", [], [])
    sort(graph)
    assert list(graph.node) == nodes
    sort(graph)
    assert list(graph.node) == nodes


def test_a_circle_keeps_all_its_nodes() -> None:
    nodes = [
        *chain(3),
        helper.make_node("Add", ["t3", "t5"], ["t4"]),
        helper.make_node("Relu", ["t4"], ["t5"]),
    ]
    graph = helper.make_graph(nodes[::-1], "net", [], [])
    sort(graph)
    assert list(graph.node)[:3] == nodes[:3]
    assert {node.output[0] for node in graph.node} == {f"t{i}" for i in range(1, 6)}


def test_a_newer_ir_version_is_lowered_everywhere(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.ir_version = IR_VERSION + 4
    onnx.save(model, path)
    assert load(path).ir_version == IR_VERSION
    assert Model.open(path, CPU).run(PIXELS)[1].shape == (2, 5)
    imported, _ = as_graft_model(path)
    imported.ir_version = IR_VERSION + 4  # a file of ours that another tool has written again
    onnx.save(imported, path)
    assert Model.open(path, CPU).run(PIXELS)[1].shape == (2, 5)


def test_the_version_is_known_where_onnx_is_not_imported() -> None:
    assert _IR_VERSION == IR_VERSION
