"""Building graphs: names, shapes, errors, and what gradients adds."""

from __future__ import annotations

import numpy as np
import pytest

from finetune.autodiff import (
    Graph,
    Session,
    constant,
    gradients,
    not_differentiable,
    placeholder,
    register_op,
    registry,
    variable,
)
from finetune.autodiff.ops.activations import relu
from finetune.autodiff.ops.convolution import conv2d
from finetune.autodiff.ops.elementwise import cast, floor, where
from finetune.autodiff.ops.matmul import matmul
from finetune.autodiff.ops.pooling import max_pool
from finetune.autodiff.ops.reductions import argmax, reduce_sum
from finetune.autodiff.ops.rules import any_order, onnx_node, same_as_first
from finetune.autodiff.ops.shape import concat, reshape, split, squeeze
from finetune.autodiff.ops.slicing import gather, pad
from finetune.autodiff.ops.state import stop_gradient
from finetune.autodiff.tensor import Tensor, apply
from models.errors import GradientError, GraphError, ShapeError


def test_names_are_unique_within_their_scope() -> None:
    with Graph() as graph:
        names = [placeholder((), name="x").name for _ in range(3)]
        with graph.name_scope("layer"):
            names.append(placeholder((), name="x").name)
        with graph.name_scope("layer"):
            names.append((placeholder((), name="x") + 1.0).name)
    assert names == ["x", "x_1", "x_2", "layer/x", "layer_1/add"]
    assert graph.operation("layer_1/add").type == "add"


def test_an_operation_that_is_refused_leaves_no_trace() -> None:
    with Graph() as graph:
        a, b = placeholder((2,)), placeholder((3,))
        before = graph.operations()
        with pytest.raises(ShapeError, match=r"add \(add\): shapes \(2\) and \(3\) do not fit"):
            _ = a + b
        assert graph.operations() == before
        assert (a + a).name == "add"


def test_operations_say_what_they_are() -> None:
    with Graph() as graph:
        x = placeholder((None, 3), name="x")
        y = x @ np.ones((3, 2))
    assert repr(y.op) == "<matmul matmul(x, constant) -> (?, 2)>"
    assert repr(x) == "<Tensor x (?, 3) float32>"
    assert repr(graph) == "<Graph of 3 operations, 0 variables, float32>"


def test_numbers_take_the_dtype_of_their_neighbour() -> None:
    with Graph(np.float64) as graph:
        x, i = placeholder((2,)), placeholder((2,), np.int64)
        assert (1 - x).dtype == (x / 2).dtype == (2.0**x).dtype == np.float64
        assert (i + 1).dtype == np.int64
        assert (np.ones(2, np.float32) * x).dtype == np.float64
        assert constant([1.5]).dtype == np.float64
        assert graph.constant(2.0) is graph.constant(2.0)
        with pytest.raises(GraphError, match=r"0\.5 is a real number and placeholder_1 holds int64"):
            _ = i * 0.5


def test_comparison_with_is_by_identity_so_that_tensors_are_keys() -> None:
    with Graph():
        x, y = placeholder(()), placeholder(())
    assert {x: 1, y: 2}[x] == 1
    assert x != y


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: matmul(x, x), r"\(\?, 4, 4, 3\) @ \(\?, 4, 4, 3\) does not fit"),
        (lambda x: reshape(x, (5, -1, -1)), r"\(5, -1, -1\) is not a shape"),
        (lambda x: reshape(constant([1.0, 2.0]), (3,)), r"\(2\) has 2 elements; they do not fill \(3,\)"),
        (lambda x: reduce_sum(x, 4), r"axis 4 does not exist in a tensor of rank 4"),
        (lambda x: reduce_sum(x, (1, -3)), r"axes \(1, 1\) name one axis twice"),
        (lambda x: squeeze(x, 1), r"axes \(1,\) of \(\?, 4, 4, 3\) are not all of size 1"),
        (lambda x: concat([x, x[:, :2]], 2), r"expected equal shapes"),
        (lambda x: split(x, (1, 1), 1), r"add up to 2; axis 1 of \(\?, 4, 4, 3\) differs"),
        (
            lambda x: apply("transpose", [x], order=(0, 0, 1, 2)),
            r"\(0, 0, 1, 2\) is not an order of the 4 axes",
        ),
        (lambda x: apply("broadcast_like", [x, x[:, :1]]), r"does not stretch to \(\?, 1, 4, 3\)"),
        (lambda x: pad(x, [(0, 0)]), r"is not a \(before, after\) >= 0 for each axis"),
        (lambda x: x[0, 0, 0, 0, 0], r"5 positions for 4 axes"),
        (lambda x: x[:, 7], r"axis 7 does not exist"),
        (lambda x: x[:, ::0], r"a step of 0 goes nowhere"),
        (lambda x: conv2d(x, constant(np.ones((1, 3, 2, 2)))), r"expected 3 x 1 = 3 channels"),
        (
            lambda x: conv2d(x, constant(np.ones((1, 4, 5, 5))), padding="VALID"),
            r"window of \(5, 5\) .* does not fit",
        ),
        (lambda x: conv2d(x, constant(np.ones((2, 2)))), r"expected weights \(F, C / groups, KH, KW\)"),
        (
            lambda x: conv2d(x, constant(np.ones((1, 4, 1, 1))), padding="same"),
            r"padding='same'; expected \"SAME\"",
        ),
        (
            lambda x: conv2d(x, constant(np.ones((1, 4, 1, 1))), strides=0),
            r"strides=0; expected a number >= 1",
        ),
        (lambda x: conv2d(x[0], constant(np.ones((1, 4, 1, 1)))), r"expected images \(N, C, H, W\)"),
        (lambda x: max_pool(x, 2, padding=2), r"is not smaller than the window"),
        (lambda x: max_pool(placeholder((1, 1, None, 4)), 2), r"needs known sizes, got \(\?, 4\)"),
    ],
)
def test_shapes_that_do_not_fit(build, message) -> None:
    with Graph():
        x = placeholder((None, 4, 4, 3))
        with pytest.raises(ShapeError, match=message):
            build(x)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x, i: x + i, "expected one dtype, got x float32 and i int64"),
        (lambda x, i: relu(i), "expected real numbers, i holds int64"),
        (lambda x, i: gather(x, x), "expected int64 or int32, x holds float32"),
        (lambda x, i: where(x, x, x), "the condition x holds float32; compare it first"),
        (lambda x, i: bool(x > 0), "has no value while the graph is built"),
        (lambda x, i: list(x), "cannot be iterated over"),
        (lambda x, i: x[x > 0], "For a tensor use gather"),
        (lambda x, i: apply("no_such", [x]), "no operation 'no_such'; there are abs, add"),
        (lambda x, i: x.graph.device("/gpu:0"), "the device belongs to the session: Session"),
        (lambda x, i: x.graph.operation("y"), "no operation is called 'y'"),
        (lambda x, i: placeholder((), name="a/"), "'a/' is not a name"),
        (lambda x, i: variable(lambda rng, shape: np.zeros(shape)), "an initializer needs a shape"),
        (lambda x, i: variable(np.zeros(2, np.int64)), r"holds int64 and cannot be trained"),
        (lambda x, i: variable(np.zeros(2)).assign(x), r"cannot be assigned x, which is \(\?\) float32"),
        (lambda x, i: variable(np.zeros(2), (3,)), r"the initial value is \(2,\), not \(3,\)"),
    ],
)
def test_what_else_is_refused(build, message) -> None:
    with Graph():
        x, i = placeholder((None,), name="x"), placeholder((None,), np.int64, name="i")
        with pytest.raises(GraphError, match=message):
            build(x, i)


def test_refuses_a_dtype_that_nothing_computes_in() -> None:
    with pytest.raises(GraphError, match="float32 or float64, not in float16"):
        Graph(np.float16)


def test_refuses_tensors_of_another_graph() -> None:
    with Graph():
        x = placeholder((), name="x")
    with Graph():
        y = placeholder((), name="y")
    with pytest.raises(GraphError, match="y belongs to another Graph"):
        _ = x + y
    with pytest.raises(GraphError, match="y belongs to another Graph than multiply"):
        gradients(x * 2.0, [y])
    with pytest.raises(GraphError, match="y belongs to another Graph than this session"):
        Session(x.graph, device="cpu").run(y)
    with pytest.raises(GraphError, match="y belongs to another Graph than this session"):
        Session(x.graph, device="cpu").run(x, {y: 1.0})


def test_needs_a_graph() -> None:
    with pytest.raises(GraphError, match="write `with Graph"):
        placeholder(())


def test_gradients_adds_only_what_is_asked_for() -> None:
    with Graph() as graph:
        a, b, c = placeholder((2, 2), name="a"), placeholder((2, 2), name="b"), placeholder((2, 2), name="c")
        y = reduce_sum(a @ b + c)
        before = len(graph.operations())
        gradients(y, [c])
        assert not any(op.type == "matmul" for op in graph.operations()[before:])
        gradients(y, [a])
        assert sum(op.type == "matmul" for op in graph.operations()[before:]) == 1


def test_gradients_of_several_ys_with_weights() -> None:
    with Graph() as graph:
        x = placeholder((2,))
        weights = constant([1.0, 10.0])
        (g,) = gradients([x * x, 3.0 * x], [x], [weights, weights])
    np.testing.assert_allclose(Session(graph, device="cpu").run(g, {x: [1.0, 2.0]}), [5.0, 70.0])


def test_a_tensor_is_its_own_gradient_path() -> None:
    with Graph() as graph:
        x = placeholder(())
        y = x * x
        found = gradients(y, [y, x])
    assert Session(graph, device="cpu").run(found, {x: 3.0}) == [1.0, 6.0]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: placeholder(()) * 2.0, "does not depend on x"),
        (lambda x: reduce_sum(floor(x)), r"through floor \(floor\): it is constant between its steps"),
        (lambda x: reduce_sum(stop_gradient(x)), r"through stop_gradient .*stands there to stop it"),
        (lambda x: cast(argmax(x), np.float32), r"through argmax \(argmax\): its result is a position"),
        (
            lambda x: reduce_sum(cast(cast(x, np.int64), np.float32)),
            r"through cast \(cast\): its result is not real",
        ),
        (lambda x: argmax(x), "argmax holds int64; only real numbers have gradients"),
    ],
)
def test_gradients_that_do_not_exist(build, message) -> None:
    with Graph():
        x = placeholder((3,), name="x")
        with pytest.raises(GradientError, match=message):
            gradients(build(x), [x])


def test_a_users_own_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    register_op(
        "cube",
        shape=same_as_first,
        lower=lambda emit, op, x: emit.node("Mul", [x, emit.node("Mul", [x, x])]),
        gradient=lambda op, g: 3.0 * op.inputs[0] * op.inputs[0] * g,
        permute=any_order,
    )

    def cube(x: Tensor) -> Tensor:
        return apply("cube", [x])

    with Graph() as graph:
        x = placeholder((None,))
        y = cube(x)
        second = gradients(gradients(y, [x])[0], [x])[0]
    assert Session(graph, device="cpu").run([y, second], {x: [2.0]}) == [8.0, 12.0]


def test_an_operation_is_registered_once() -> None:
    with pytest.raises(GraphError, match="'relu' is registered already"):
        register_op(
            "relu", shape=same_as_first, lower=onnx_node("Relu"), gradient=not_differentiable("a test")
        )


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "expected"),
    [
        (28, 3, 1, "SAME", 28),
        (28, 3, 2, "SAME", 14),
        (28, 3, 3, "SAME", 10),
        (28, 3, 1, "VALID", 26),
        (28, 3, 2, "VALID", 13),
        (28, 3, 3, "VALID", 9),
        (28, 5, 1, "VALID", 24),
        (28, 3, 1, 1, 28),
        (28, 3, 2, ((0, 1), (0, 1)), 14),
    ],
)
def test_output_sizes(size, kernel, stride, padding, expected) -> None:
    with Graph():
        x = placeholder((None, 1, size, size))
        y = conv2d(x, constant(np.ones((2, 1, kernel, kernel))), stride, padding)
    assert y.shape == (None, 2, expected, expected)
