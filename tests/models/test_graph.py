"""Small tools on ONNX graphs."""

from __future__ import annotations

import pytest
from onnx import ModelProto, TensorProto, helper

from models.errors import ModelError
from models.graph import lifted, opset_of
from models.opset import OPSET


def network(opset: int, op: str = "Relu") -> ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "network", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


@pytest.mark.parametrize(
    ("have", "want", "get"), [(11, OPSET, OPSET), (OPSET, OPSET, OPSET), (20, OPSET, 20), (18, 21, 21)]
)
def test_a_network_is_lifted_in_a_copy(have: int, want: int, get: int) -> None:
    model = network(have)
    copy = lifted(model, want)
    assert (opset_of(copy), opset_of(model)) == (get, have)
    del copy.graph.node[:]
    assert len(model.graph.node) == 1


def test_a_network_that_cannot_be_lifted_says_why() -> None:
    with pytest.raises(
        ModelError, match=r"has opset 11 and cannot be converted to 18 \(.*NoSuchOp.*later opset"
    ):
        lifted(network(11, "NoSuchOp"))


def test_without_a_declared_opset_it_is_ours() -> None:
    model = network(11)
    del model.opset_import[:]
    assert opset_of(model) == OPSET
