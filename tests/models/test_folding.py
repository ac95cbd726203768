"""Layers that absorb what stands behind them: the same numbers from fewer nodes; what must not be touched stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto

from models.folding import fold_into_layers
from tests.finetune.autodiff.importing.networks import largest_difference, network, node, original, reals

CONV = node("Conv", ["x", "net/weights"], ["c"], name="conv")
BIASED = node("Conv", ["x", "net/weights", "b"], ["c"], name="conv")
KERNEL = {"net/weights": reals(4, 3, 3, 3)}
CHANNELS = np.abs(reals(4, 1, 1, seed=5)) + 0.5


def folded(model: ModelProto) -> list[str]:
    """Fold; the operators that are left. The numbers must be the same."""
    outputs = [value.name for value in model.graph.output]
    shape = [dim.dim_value or 2 for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = reals(*shape, seed=9)
    before = original(model, {"x": x}, outputs)
    fold_into_layers(model.graph)
    for got, want in zip(original(model, {"x": x}, outputs), before, strict=True):
        assert largest_difference(got, want) <= 1e-6
    return [n.op_type for n in model.graph.node]


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ([CONV, node("Add", ["c", "k"], ["y"])], {"k": CHANNELS}),
        ([CONV, node("Add", ["k", "c"], ["y"])], {"k": CHANNELS[None]}),
        ([CONV, node("Sub", ["c", "k"], ["y"])], {"k": CHANNELS}),
        ([CONV, node("Sub", ["k", "c"], ["y"])], {"k": CHANNELS}),
        ([CONV, node("Mul", ["c", "k"], ["y"])], {"k": np.float32(3)}),
        ([CONV, node("Div", ["c", "k"], ["y"])], {"k": CHANNELS}),
        (
            [BIASED, node("Mul", ["c", "k"], ["m"], name="m"), node("Add", ["m", "t"], ["y"], name="a")],
            {"b": reals(4), "k": CHANNELS, "t": reals(4, 1, 1)},
        ),
    ],
)
def test_a_convolution_absorbs_what_acts_on_channels(nodes: list[NodeProto], weights: dict[str, Any]) -> None:
    model = network(nodes, KERNEL | weights)
    assert folded(model) == ["Conv"]
    assert sorted(value.name for value in model.graph.initializer) == ["net/bias", "net/weights"]


STATISTICS = {"scale": reals(4), "shift": reals(4), "mean": reals(4), "var": np.abs(reals(4)) + 0.5}
NORM = node("BatchNormalization", ["c", *STATISTICS], ["y"], epsilon=0.01)


@pytest.mark.parametrize("layer", [CONV, BIASED])
def test_a_convolution_absorbs_batch_norm(layer: NodeProto) -> None:
    weights = KERNEL | STATISTICS | ({"b": reals(4)} if layer is BIASED else {})
    assert folded(network([layer, NORM], weights)) == ["Conv"]


def test_batch_norm_whose_statistics_are_computed_stays() -> None:
    nodes = [node("ReduceMean", ["x"], ["seen"], axes=[0, 2, 3], keepdims=0), CONV, NORM]
    nodes[2] = node("BatchNormalization", ["c", "scale", "shift", "seen", "var"], ["y"])
    weights = {"net/weights": reals(3, 3, 3, 3), **{name: values[:3] for name, values in STATISTICS.items()}}
    model = network(nodes, weights)
    fold_into_layers(model.graph)
    assert [n.op_type for n in model.graph.node] == ["ReduceMean", "Conv", "BatchNormalization"]


def test_only_what_was_asked_for_is_absorbed() -> None:
    model = network([CONV, node("Mul", ["c", "k"], ["y"])], KERNEL | {"k": CHANNELS})
    fold_into_layers(model.graph, ["BatchNormalization"])
    assert [n.op_type for n in model.graph.node] == ["Conv", "Mul"]


def test_a_matrix_product_with_a_factor_of_its_own_stays() -> None:
    nodes = [
        node("Gemm", ["x", "w", "b"], ["g"], beta=0.5, name="gemm"),
        node("Mul", ["g", "s"], ["y"], name="mul"),
    ]
    weights = {"w": reals(6, 5), "b": reals(5), "s": reals(1, 5)}
    assert folded(network(nodes, weights, ("N", 6))) == ["Gemm", "Mul"]


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_matrix_product_absorbs_too(transposed: int) -> None:
    nodes = [
        node("Gemm", ["x", "w"], ["g"], transB=transposed, name="gemm"),
        node("Add", ["g", "b"], ["h"], name="add"),
        node("Mul", ["h", "s"], ["y"], name="mul"),
    ]
    weights = {"w": reals(5, 6).T if not transposed else reals(5, 6), "b": reals(5), "s": reals(1, 5)}
    weights["w"] = np.ascontiguousarray(weights["w"])
    assert folded(network(nodes, weights, ("N", 6))) == ["Gemm"]


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ([CONV, node("Add", ["c", "k"], ["y"])], {"k": reals(6, 6)}),
        ([CONV, node("Mul", ["c", "k"], ["y"])], {"k": reals(2, 1, 1, 1)}),
        ([CONV, node("Div", ["k", "c"], ["y"])], {"k": np.float32(2)}),
        ([CONV, node("Mul", ["c", "c"], ["y"])], {}),
        ([CONV, node("Relu", ["c"], ["y"])], {}),
        (
            [
                CONV,
                node("Neg", ["x"], ["n"]),
                node("Slice", ["n", "i", "k", "j"], ["m"]),
                node("Add", ["c", "m"], ["y"]),
            ],
            {"i": np.array([1, 1]), "k": np.array([7, 7]), "j": np.array([2, 3])}
            | {"net/weights": reals(3, 3, 3, 3)},
        ),
    ],
)
def test_what_does_not_act_on_channels_stays(nodes: list[NodeProto], weights: dict[str, Any]) -> None:
    assert folded(network(nodes, KERNEL | weights)) == [n.op_type for n in nodes]


def test_an_output_that_others_read_stays() -> None:
    nodes = [CONV, node("Mul", ["c", "k"], ["y"])]
    assert folded(network(nodes, KERNEL | {"k": CHANNELS}, outputs=["c", "y"])) == ["Conv", "Mul"]


def test_shared_weights_are_scaled_for_one_layer_only() -> None:
    nodes = [
        node("Conv", ["x", "net/weights"], ["c"], name="one"),
        node("Mul", ["c", "k"], ["y"]),
        node("Conv", ["x", "net/weights"], ["z"], name="two"),
    ]
    model = network(nodes, KERNEL | {"k": CHANNELS}, outputs=["y", "z"])
    assert folded(model) == ["Conv", "Conv"]
    assert sorted(value.name for value in model.graph.initializer) == [
        "net/weights",
        "one/bias",
        "one/weights",
    ]


def test_a_bias_that_others_read_keeps_its_value() -> None:
    nodes = [CONV, node("Mul", ["c", "k"], ["y"]), node("Add", ["x", "net/bias"], ["z"])]
    model = network(nodes, KERNEL | {"k": CHANNELS, "net/bias": np.float32(7)}, outputs=["y", "z"])
    assert folded(model) == ["Conv", "Add"]
