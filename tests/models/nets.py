"""Small float networks as users export them, in the shapes that importers meet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from models.opset import IR_VERSION

node = helper.make_node


def save(
    path: Path,
    nodes: list[NodeProto],
    weights: dict[str, NDArray[Any]],
    *,
    shape: tuple[Any, ...] = ("N", 3, 32, 32),
    outputs: tuple[str, ...] = ("out",),
    kind: int = TensorProto.FLOAT,
    opset: int = 18,
    input_name: str = "x",
) -> Path:
    """Write a network with one image input and outputs whose shapes the file does not tell."""
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(input_name, kind, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)
    onnx.save(model, path)
    return path


def residual_net(path: Path, *, classes: int = 5, end: str = "softmax", **options: Any) -> Path:
    """Two convolutions, the second with a shortcut, a mean over positions and a classifier.

    `end`: "softmax", "logits", "conv" (a 1x1 convolution, as in MobileNetV2), or "features".
    """
    rng = np.random.default_rng(7)

    def draw(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape).astype(np.float32)

    weights = {"w1": draw(8, 3, 3, 3), "w2": draw(8, 8, 3, 3), "unused": draw(64)}
    entry = options.get("input_name", "x")
    nodes = [
        node("Conv", [entry, "w1"], ["c1"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        node("Add", ["r1", "c2"], ["block"]),
        node("GlobalAveragePool", ["block"], ["gap"]),
    ]
    if end == "conv":
        weights["head"] = draw(classes, 8, 1, 1) / 8
        nodes += [node("Conv", ["gap", "head"], ["maps"]), node("Flatten", ["maps"], ["raw"])]
        nodes += [node("Softmax", ["raw"], ["out"], axis=1)]
    elif end == "features":
        nodes += [node("Flatten", ["gap"], ["out"])]
    else:
        weights["head"] = draw(8, classes) / 8
        nodes += [node("Flatten", ["gap"], ["flat"])]
        last = "out" if end == "logits" else "raw"
        nodes += [node("MatMul", ["flat", "head"], [last])]
        nodes += [node("Softmax", ["raw"], ["out"], axis=-1)] if end == "softmax" else []
    return save(path, nodes, weights, **options)
