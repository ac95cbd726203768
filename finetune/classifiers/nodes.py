"""What classifiers are written of, beside the nodes that all graphs share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from models.names import EMBEDDING, FEATURES
from models.nodes import Nodes, floats
from models.opset import IR_VERSION, opset_imports

ML = "ai.onnx.ml"
_ML_VERSION = 3  # the first with thresholds of float64; onnxruntime 1.24 runs it


class TopNodes(Nodes):
    """A graph from `features`, float32 (N, D), that gives them back as `embedding` and grows node by node."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.add("Identity", FEATURES, output=EMBEDDING)

    def top_k(self, x: str, k: int) -> tuple[str, str]:
        """The k smallest of each row, ascending: values and places."""
        values, places = f"nearest_{len(self.nodes)}", f"nearest_places_{len(self.nodes)}"
        count = self.constant(f"k_{len(self.nodes)}", [k], np.int64)
        self.nodes.append(
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
        shape: list[int | str | None] = ["N"] if columns is None else ["N", columns]
        graph = helper.make_graph(
            self.nodes,
            "classifier",
            [floats(FEATURES, ["N", self.width])],
            [floats(EMBEDDING, ["N", self.width]), floats(output, shape)],
            self.weights,
        )
        imports = opset_imports()
        if any(node.domain == ML for node in self.nodes):
            imports.append(helper.make_opsetid(ML, _ML_VERSION))
        return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)


Array = NDArray[Any]
