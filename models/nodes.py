"""Writes ONNX nodes one behind the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper


class Nodes:
    """Nodes and weights for an ONNX graph; methods return the name of the tensor that they add.

    `prefix` stands before the names that are made up here.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def add(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """A node with one output, which is called `output` where that is given."""
        name = output or f"{self.prefix}{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        """An array, behind the prefix."""
        array = np.ascontiguousarray(values, dtype).reshape(np.shape(values))
        self.weights.append(numpy_helper.from_array(array, f"{self.prefix}{name}"))
        return f"{self.prefix}{name}"

    def append_to(self, graph: GraphProto, *, first: bool = False) -> None:
        """Put them into a graph, behind its nodes or before them."""
        rest = list(graph.node) if first else []
        if first:
            del graph.node[:]
        graph.node.extend([*self.nodes, *rest])
        graph.initializer.extend(self.weights)


def floats(name: str, shape: Sequence[int | str | None] | None) -> ValueInfoProto:
    """A float32 input or output of a graph; sizes are numbers, names such as "N", or not known."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
