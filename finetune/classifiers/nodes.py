"""Writes ONNX nodes one behind the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from models.names import EMBEDDING, FEATURES
from models.opset import IR_VERSION, opset_imports

ML = "ai.onnx.ml"
_ML_VERSION = 3  # the first with thresholds of float64; onnxruntime 1.24 runs it


class Nodes:
    """A graph from `features`, float32 (N, D), that gives them back as `embedding` and grows node by node."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._nodes: list[NodeProto] = [helper.make_node("Identity", [FEATURES], [EMBEDDING], name=EMBEDDING)]
        self._weights: list[TensorProto] = []

    def constant(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        """Store an array and return its name."""
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
        return name

    def add(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        name = output or f"{op.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def top_k(self, x: str, k: int) -> tuple[str, str]:
        """The k smallest of each row, ascending: values and places."""
        values, places = f"nearest_{len(self._nodes)}", f"nearest_places_{len(self._nodes)}"
        count = self.constant(f"k_{len(self._nodes)}", [k], np.int64)
        self._nodes.append(
            helper.make_node("TopK", [x, count], [values, places], name=values, largest=0, sorted=1)
        )
        return values, places

    def to_float(self, x: str) -> str:
        """x as float32."""
        return self.add("Cast", x, to=TensorProto.FLOAT)

    def to_double(self, x: str) -> str:
        """x as float64."""
        return self.add("Cast", x, to=TensorProto.DOUBLE)

    def model(self, output: str, columns: int | None) -> ModelProto:
        """The model, with `output` (N, columns), or (N,) without columns, beside the embedding."""
        shape = ["N"] if columns is None else ["N", columns]
        graph = helper.make_graph(
            self._nodes,
            "classifier",
            [_value(FEATURES, ["N", self.width])],
            [_value(EMBEDDING, ["N", self.width]), _value(output, shape)],
            self._weights,
        )
        imports = opset_imports()
        if any(node.domain == ML for node in self._nodes):
            imports.append(helper.make_opsetid(ML, _ML_VERSION))
        return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)


def _value(name: str, shape: list[Any]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


Array = NDArray[Any]
