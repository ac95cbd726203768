"""What is imported, under which names, what is trained, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from finetune.autodiff import Graph, Session
from finetune.autodiff.importing import import_onnx
from models.errors import CutError, GraphError, ModelError
from tests.finetune.autodiff.importing.networks import (
    imported,
    largest_difference,
    network,
    node,
    original,
    reals,
)


def small() -> ModelProto:
    """Preprocessing, two convolutions with a shortcut around the second, a classifier."""
    nodes = [
        node("Sub", ["x", "mean"], ["centred"]),
        node("Conv", ["centred", "block_1.weight", "block_1.bias"], ["c1"], pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["block_1"]),
        node("Conv", ["block_1", "block_10.weight"], ["c2"], pads=[1, 1, 1, 1]),
        node("Mul", ["c2", "block_10.scale"], ["scaled"]),
        node("Add", ["block_1", "scaled"], ["block_10"]),
        node("GlobalAveragePool", ["block_10"], ["pool"]),
        node("Flatten", ["pool"], ["flat"]),
        node("MatMul", ["flat", "head.weight"], ["raw"]),
        node("Div", ["raw", "temperature"], ["scores"]),
        node("Softmax", ["scores"], ["y"]),
    ]
    weights = {
        "mean": reals(3, 1, 1),
        "block_1.weight": reals(4, 3, 3, 3),
        "block_1.bias": reals(4),
        "block_10.weight": reals(4, 4, 3, 3),
        "block_10.scale": reals(4, 1, 1),
        "head.weight": reals(4, 5),
        "temperature": np.array([2.0], np.float32),
    }
    return network(nodes, weights)


WEIGHTS = ["block_1.weight", "block_1.bias", "block_10.weight", "block_10.scale", "head.weight"]


def trained(trainable: Any, **how: Any) -> list[str]:
    with Graph():
        part = import_onnx(small(), trainable=trainable, **how)
    return [name for name, variable in part.variables.items() if variable.trainable]


def test_weights_become_variables_and_numbers_constants() -> None:
    with Graph() as graph:
        part = import_onnx(small())
    assert list(part.variables) == WEIGHTS
    assert [variable.name for variable in graph.variables] == [name.replace(".", "/") for name in WEIGHTS]
    assert all(part.tensors[name].op.type == "constant" for name in ("mean", "temperature"))
    assert part.logits is part.tensors["scores"]


@pytest.mark.parametrize(
    ("trainable", "expected"),
    [
        (True, WEIGHTS),
        (False, []),
        (["block_1"], ["block_1.weight", "block_1.bias"]),
        (["BLOCK_10", "head.weight"], ["block_10.weight", "block_10.scale", "head.weight"]),
        ("head", ["head.weight"]),
        (lambda name: name.endswith("weight"), ["block_1.weight", "block_10.weight", "head.weight"]),
    ],
)
def test_trainable(trainable: Any, expected: list[str]) -> None:
    assert trained(trainable) == expected


def test_trainable_must_name_a_weight() -> None:
    with pytest.raises(
        GraphError, match=r"no weight of this part is called 'heads'.* named like head\.weight"
    ):
        trained(["heads"])


def test_frozen_weights_stay_inside_compiled_models() -> None:
    with Graph() as graph:
        part = import_onnx(small(), trainable=["head"])
    from finetune.autodiff.program import compile_program

    frozen = {v: v.initial for v in part.variables.values() if not v.trainable}
    head = part.variables["head.weight"]
    program = compile_program(graph, [part.logits], [part.input], "plain", False, {head: (0, 1)}, frozen)
    assert list(program.reads) == [head]


@pytest.mark.parametrize("cut", ["block_1", "block_10", "flat"])
def test_any_cut_where_all_paths_meet(cut: str) -> None:
    x = reals(2, 3, 8, 8)
    at_cut, want = original(small(), {"x": x}, [cut, "y"])
    part, _, (got,) = imported(small(), at_cut, from_cut=cut)
    assert part.input is part.tensors[cut]
    assert largest_difference(got, want) <= 1e-6


def test_outputs_may_lie_inside() -> None:
    part, _, (got,) = imported(small(), reals(2, 4, 8, 8), from_cut="block_1", outputs=["pool"])
    assert list(part.outputs) == ["pool"]
    assert got.shape == (2, 4, 1, 1)
    assert "head.weight" not in part.tensors


def test_a_name_is_a_scope() -> None:
    with Graph() as graph:
        import_onnx(small(), name="backbone")
    assert all(op.name.startswith("backbone/") for op in graph.operations() if op.type != "constant")


def test_the_batch_is_free_where_the_file_fixes_it() -> None:
    model = network([node("Reshape", ["x", "s"], ["y"])], {"s": np.array([1, 192])}, (1, 3, 8, 8))
    part, _, (got,) = imported(model, reals(5, 3, 8, 8))
    assert part.input.shape == (None, 3, 8, 8)
    assert got.shape == (5, 192)


def test_a_file_of_an_older_opset(tmp_path: Path) -> None:
    nodes = [node("Clip", ["x"], ["c"], min=0.0, max=1.0), node("ReduceMean", ["c"], ["y"], axes=[2, 3])]
    model = network(nodes, opset=10)
    onnx.save(model, tmp_path / "old.onnx")
    x = reals(2, 3, 8, 8)
    with Graph() as graph:
        part = import_onnx(tmp_path / "old.onnx")
    got = Session(graph, device="cpu").run(part.outputs["y"], {part.input: x})
    assert largest_difference(got, original(model, {"x": x}, ["y"])[0]) <= 1e-6


def test_logits_of_a_file_of_an_older_opset() -> None:
    nodes = [node("MatMul", ["x", "w"], ["raw"]), node("Softmax", ["raw"], ["y"], axis=1)]
    x = reals(3, 6)
    part, session, (got,) = imported(network(nodes, {"w": reals(6, 5)}, ("N", 6), opset=11), x)
    np.testing.assert_allclose(
        session.run(part.logits, {part.input: x}), x @ reals(6, 5), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(got.sum(1), 1, rtol=1e-6)


def test_windows_are_a_multiple_of_the_batch() -> None:
    """Two windows an image, looked at on their own, and back: what Swin does."""
    nodes = [
        node("Shape", ["x"], ["all"]),
        node("Mul", ["all", "times"], ["more"]),
        node("Div", ["more", "by"], ["sizes"]),
        node("Reshape", ["x", "sizes"], ["windows"]),
        node("Softmax", ["windows"], ["shares"]),
        node("Reshape", ["shares", "all"], ["y"]),
    ]
    model, x = network(nodes, {"times": np.array([2, 1]), "by": np.array([1, 2])}, ("N", 6)), reals(4, 6)
    part, _, (got,) = imported(model, x)
    assert part.tensors["windows"].shape == (None, 3)
    assert largest_difference(got, original(model, {"x": x}, ["y"])[0]) <= 1e-6


def test_sizes_that_depend_on_the_batch_otherwise_are_refused() -> None:
    nodes = [  # as many columns as rows
        node("Shape", ["x"], ["all"], end=1),
        node("Mul", ["all", "k"], ["s"]),
        node("Slice", ["x", "k", "s", "k"], ["y"]),
    ]
    with Graph(), pytest.raises(GraphError, match="Slice node 'y': 's' is known only when the netw"):
        import_onnx(network(nodes, {"k": np.array([1])}, ("N", 6)))


def test_weights_that_nodes_compute_are_constants_of_the_file() -> None:
    half = reals(4, 3, 3, 3).astype(np.float16)
    nodes = [
        node("Cast", ["stored"], ["kernel"], to=TensorProto.FLOAT),
        node("Constant", [], ["two"], value_float=2.0),
        node("Conv", ["x", "kernel"], ["c"]),
        node("Mul", ["c", "two"], ["y"]),
    ]
    part, session, (got,) = imported(network(nodes, {"stored": half}), reals(1, 3, 8, 8))
    assert list(part.variables) == ["kernel"]
    np.testing.assert_array_equal(session.value(part.variables["kernel"]), half.astype(np.float32))
    assert got.shape == (1, 4, 6, 6)


def test_an_operator_without_a_rule_is_named() -> None:
    model = network([node("Relu", ["x"], ["r"]), node("LRN", ["r"], ["y"], size=3, name="norm/lrn")])
    with (
        Graph(),
        pytest.raises(
            GraphError, match=r"node 'norm/lrn' is a LRN, .* rules for Abs, Add, .*Unsqueeze, Where\. Cut beh"
        ),
    ):
        import_onnx(model)


def test_an_operator_of_another_domain_is_named() -> None:
    model = network([node("Relu", ["x"], ["y"], domain="com.example")])
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    with (
        Graph(),
        pytest.raises(GraphError, match=r"node 'y' is a com\.example\.Relu, which cannot be imported"),
    ):
        import_onnx(model)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (
            {"from_cut": "blok_10"},
            r"no cut point or tensor named 'blok_10'; there are .*Did you mean block_10\?",
        ),
        ({"outputs": ["z"]}, "no cut point or tensor named 'z'"),
        (
            {"from_cut": "scaled"},
            r"y depends on 'x' too, which does not come out of 'scaled'\. Cut where all paths",
        ),
        ({"from_cut": "pool", "outputs": ["block_10"]}, "block_10 depends on 'x' too"),
    ],
)
def test_cuts_that_cannot_be(how: dict[str, Any], message: str) -> None:
    with Graph(), pytest.raises(CutError, match=message):
        import_onnx(small(), **how)


def test_a_constant_is_no_output() -> None:
    nodes = [node("Neg", ["w"], ["negative"]), node("Conv", ["x", "negative"], ["y"])]
    with Graph(), pytest.raises(CutError, match=r"negative does not depend on 'x'\. Cut before it"):
        import_onnx(network(nodes, {"w": reals(4, 3, 3, 3)}), outputs=["negative"])


def test_two_inputs_need_a_cut() -> None:
    model = network([node("Add", ["x", "z"], ["y"])])
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 3, 8, 8]))
    with Graph(), pytest.raises(CutError, match="inputs are x, z; expected one, or name a cut"):
        import_onnx(model)


def test_an_input_of_unknown_shape() -> None:
    model = network([node("Shape", ["x"], ["s"]), node("Reshape", ["x", "s"], ["y"])])
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with (
        Graph(),
        pytest.raises(ModelError, match="the shape of 'x' is not known; run onnx's shape inference"),
    ):
        import_onnx(model)


def test_a_network_without_inputs() -> None:
    model = network([node("Relu", ["w"], ["y"])], {"w": reals(3)})
    del model.graph.input[:]
    with Graph(), pytest.raises(CutError, match="the network's inputs are none; expected one"):
        import_onnx(model, "y")


def test_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_text("hello")
    with Graph(), pytest.raises(ModelError, match=r"x\.onnx: not a valid ONNX model"):
        import_onnx(tmp_path / "x.onnx")


def test_no_classes_at_the_end() -> None:
    with Graph():
        part = import_onnx(small(), outputs=["pool"])
    with pytest.raises(GraphError, match=r"pool: no logits there; expected \(N, classes\)"):
        _ = part.logits
