"""Export: the same numbers as the session, and nothing in the model but what inference needs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper

from finetune.autodiff import Graph, Session, Tensor, exporting
from finetune.autodiff.exporting import export
from finetune.autodiff.layers import batch_norm, conv2d, dense, dropout, flatten, max_pool
from finetune.autodiff.losses import softmax_cross_entropy
from finetune.autodiff.ops.activations import relu
from finetune.autodiff.ops.elementwise import cast
from finetune.autodiff.ops.softmax import softmax
from finetune.autodiff.ops.state import assert_finite
from finetune.autodiff.optimizers import Adam
from models.errors import GraphError
from models.opset import IR_VERSION, OPSET
from models.runtime import OnnxSession, RuntimeConfig


def run(model: ModelProto, **feeds: Any) -> list[np.ndarray]:
    return OnnxSession(model.SerializeToString(), RuntimeConfig(device="cpu", threads=1)).run(feeds)


def ops(model: ModelProto) -> dict[str, int]:
    return dict(Counter(node.op_type for node in model.graph.node))


def trained() -> tuple[Graph, Session, Tensor, Tensor]:
    """A small network with everything that training adds, after three steps."""
    rng = np.random.default_rng(0)
    with Graph() as graph:
        x = graph.placeholder((None, 3, 8, 8), name="image")
        labels = graph.placeholder((None,), np.int64, name="labels")
        h = relu(batch_norm(conv2d(x, 8, 3, name="first", bias=False), name="first_norm"))
        h = relu(batch_norm(conv2d(h, 6, 3, strides=2, groups=2, name="second"), name="second_norm"))
        h = dropout(flatten(max_pool(h, 2)), 0.5)
        logits = assert_finite(dense(h, 5, name="head"))
        step = Adam(0.01).minimize(softmax_cross_entropy(logits, labels))
    session = Session(graph, device="cpu", threads=1)
    for _ in range(3):
        feeds = {x: rng.normal(size=(16, 3, 8, 8)).astype(np.float32), labels: rng.integers(0, 5, 16)}
        session.run(step, feeds)
    return graph, session, x, logits


def test_the_trained_graph_becomes_a_clean_model() -> None:
    graph, session, x, logits = trained()
    model = export(graph, {"logits": logits, "probabilities": softmax(logits)}, session=session)
    onnx.checker.check_model(model, full_check=True)
    assert ops(model) == {"Conv": 2, "Relu": 2, "MaxPool": 1, "Reshape": 1, "Gemm": 1, "Softmax": 1}
    assert (model.opset_import[0].version, model.ir_version) == (OPSET, IR_VERSION)
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == ["logits", "probabilities"]
    batch, *sizes = model.graph.input[0].type.tensor_type.shape.dim
    assert (batch.dim_param, [dim.dim_value for dim in sizes]) == ("N", [3, 8, 8])
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "N"
    assert all(len(node.output) == 1 for node in model.graph.node)
    names = {value.name for value in model.graph.initializer}
    assert {
        f"{layer}/{part}" for layer in ("first", "second", "head") for part in ("weights", "bias")
    } <= names
    assert len(names) == 7  # and the shape of the Reshape
    images = np.random.default_rng(1).normal(size=(5, 3, 8, 8)).astype(np.float32)
    expected = session.run(logits, {x: images}, training=False)
    got, probabilities = run(model, image=images)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)


def test_weights_have_the_values_of_the_session() -> None:
    with Graph() as graph:
        y = dense(graph.placeholder((None, 3), name="x"), 2, name="head")
    weights, bias = graph.variables
    session = Session(graph, device="cpu")
    session.load({weights: np.arange(6).reshape(3, 2), bias: np.array([5.0, 6.0])})
    model = export(graph, [y], session=session)
    values = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}
    assert sorted(values) == ["head/bias", "head/weights"]
    np.testing.assert_array_equal(values["head/weights"], np.arange(6).reshape(3, 2))
    np.testing.assert_array_equal(values["head/bias"], [5, 6])
    assert [value.name for value in model.graph.output] == [y.name]


def test_without_a_session_variables_have_their_initial_values() -> None:
    with Graph() as graph:
        x = graph.placeholder((None, 2), name="x")
        y = x * graph.variable(np.array([2.0, 3.0]), name="factor")
    (got,) = run(export(graph, {"y": y}), x=np.ones((1, 2), np.float32))
    np.testing.assert_array_equal(got, [[2, 3]])


def test_cuts_keep_their_names_inside() -> None:
    graph, session, x, logits = trained()
    pooled = graph.operation("max_pool").output
    model = export(graph, {"logits": logits}, session=session, cuts={"pool": pooled, "logits": logits})
    assert [value.name for value in model.graph.output] == ["logits"]
    model.graph.output.add().name = "pool"
    images = np.ones((2, 3, 8, 8), np.float32)
    np.testing.assert_allclose(
        run(model, image=images)[1], session.run(pooled, {x: images}, training=False), rtol=1e-5
    )


def test_a_graph_in_float64() -> None:
    with Graph(dtype=np.float64) as graph:
        y = relu(dense(graph.placeholder((None, 4), name="x"), 3))
    model = export(graph, {"y": y})
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.DOUBLE


def test_a_sample_may_be_given() -> None:
    with Graph() as graph:
        x = graph.placeholder((None, None), name="x")
        y = x.sum(1)
    model = export(graph, {"y": y}, sample={x: np.ones((3, 7), np.float32)})
    assert run(model, x=np.ones((2, 5), np.float32))[0].tolist() == [5, 5]


def test_bytes_and_integers_can_be_inputs() -> None:
    with Graph() as graph:
        pixels = graph.placeholder((None, 4), np.uint8, name="pixels")
        numbers = graph.placeholder((None, 1), np.int64, name="numbers")
        y = cast(pixels, np.float32) * cast(numbers, np.float32)
    model = export(graph, {"y": y})
    assert [value.type.tensor_type.elem_type for value in model.graph.input] == [2, 7]


def test_a_wrong_model_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, session, _, logits = trained()
    honest = exporting.fold_into_layers

    def faulty(proto: onnx.GraphProto) -> None:
        honest(proto)
        value = next(v for v in proto.initializer if v.name == "head/bias")
        value.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(value) + np.float32(1e-3), value.name))

    monkeypatch.setattr(exporting, "fold_into_layers", faulty)
    with pytest.raises(GraphError, match=r"logits of the exported model is \(2, 5\) .* differ by more than"):
        export(graph, {"logits": logits}, session=session)


def test_an_unsound_model_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, session, _, logits = trained()
    monkeypatch.setattr(exporting, "fold_into_layers", lambda proto: proto.initializer.pop())
    with pytest.raises(GraphError, match="the exported model is not sound"):
        export(graph, {"logits": logits}, session=session)


def test_what_cannot_be_exported() -> None:
    with Graph() as graph:
        x = graph.placeholder((None, 2), name="x")
        counter = graph.variable(np.zeros(2), name="counter", trainable=False)
        y = x + counter.assign(counter + 1.0)
    with pytest.raises(
        GraphError, match="the outputs need counter_assign, which changes a variable; leave it out"
    ):
        export(graph, {"y": y})
    with pytest.raises(GraphError, match="'x' names an input and an output; give the output another name"):
        export(graph, {"x": x * 2.0})
    with pytest.raises(GraphError, match="no outputs; name at least one tensor"):
        export(graph, [])
