"""Nodes that are written one behind the other compute what they say, wherever they are put."""

from __future__ import annotations

import numpy as np
from onnx import helper

from models.nodes import Nodes, floats
from models.opset import IR_VERSION, opset_imports
from models.runtime import OnnxSession, RuntimeConfig


def test_nodes_go_behind_those_of_a_graph_or_before_them() -> None:
    last, first = Nodes("late/"), Nodes("early/")
    last.add("Add", "b", last.constant("shift", [1, 2]), output="y")
    graph = helper.make_graph([helper.make_node("Neg", ["a"], ["b"])], "g", [floats("x", ["N", 2])], [])
    graph.output.append(floats("y", ["N", 2]))
    first.add("Identity", first.add("Mul", "x", first.constant("scale", 3)), output="a")
    last.append_to(graph)
    first.append_to(graph, first=True)
    assert [node.name for node in graph.node] == ["early/mul_0", "a", "", "y"]
    assert {value.name: list(value.dims) for value in graph.initializer} == {
        "late/shift": [2],
        "early/scale": [],
    }
    model = helper.make_model(graph, opset_imports=opset_imports(), ir_version=IR_VERSION)
    (y,) = OnnxSession(model.SerializeToString(), RuntimeConfig("cpu")).run(
        {"x": np.ones((1, 2), np.float32)}
    )
    assert y.tolist() == [[-2, -1]]
