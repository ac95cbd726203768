"""Constants that are computed once: the same numbers from fewer nodes."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto

from finetune.autodiff.folding import fold_constants
from tests.finetune.autodiff.importing.networks import largest_difference, network, node, original, reals


def folded(model: ModelProto) -> list[str]:
    """Fold; the operators that are left. The numbers must be the same."""
    outputs = [value.name for value in model.graph.output]
    shape = [dim.dim_value or 2 for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = reals(*shape, seed=9)
    before = original(model, {"x": x}, outputs)
    fold_constants(model)
    for got, want in zip(original(model, {"x": x}, outputs), before, strict=True):
        assert largest_difference(got, want) <= 1e-6
    return [n.op_type for n in model.graph.node]


def test_constants_are_computed_once() -> None:
    nodes = [
        node("Constant", [], ["two"], value_float=2.0),
        node("Sqrt", ["v"], ["root"]),
        node("Div", ["two", "root"], ["factor"]),
        node("Cast", ["factor"], ["half"], to=TensorProto.FLOAT16),
        node("Cast", ["half"], ["again"], to=TensorProto.FLOAT),
        node("Mul", ["x", "again"], ["y"]),
    ]
    model = network(nodes, {"v": np.float32(16), "unused": np.float32(1)})
    assert folded(model) == ["Mul"]
    assert [value.name for value in model.graph.initializer] == ["again"]


def test_a_constant_may_be_an_output() -> None:
    model = network(
        [node("Neg", ["v"], ["y"]), node("Relu", ["x"], ["z"])], {"v": np.float32(16)}, outputs=["y", "z"]
    )
    assert folded(model) == ["Relu"]
