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


def draw(seed: int, *shape: int) -> NDArray[np.float32]:
    """Weights that keep the scale of what they multiply."""
    fan_in = np.prod(shape[1:]) if len(shape) == 4 else shape[0]
    return (np.random.default_rng(seed).standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)


def nhwc_net(path: Path, **options: Any) -> Path:
    """`residual_net` as converters from TensorFlow write it: maps lie (N, H, W, C) and are turned for convolutions."""
    weights = {"w1": draw(1, 8, 3, 3, 3), "w2": draw(2, 8, 8, 3, 3), "head": draw(3, 8, 5)}
    weights["axes"] = np.array([1, 2], np.int64)  # type: ignore[assignment]
    nodes = [
        node("Transpose", ["x"], ["turned"], perm=[0, 3, 1, 2]),
        node("Conv", ["turned", "w1"], ["c1"], pads=[1, 1, 1, 1], strides=[4, 2]),
        node("Transpose", ["c1"], ["b1"], perm=[0, 2, 3, 1]),
        node("Relu", ["b1"], ["r1"]),
        node("Transpose", ["r1"], ["t1"], perm=[0, 3, 1, 2]),
        node("Conv", ["t1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        node("Transpose", ["c2"], ["b2"], perm=[0, 2, 3, 1]),
        node("Add", ["r1", "b2"], ["block"]),  # (N, 8, 16, 8): rows, columns, channels
        node("ReduceMean", ["block", "axes"], ["mean"], keepdims=1),  # (N, 1, 1, 8)
        node("Flatten", ["mean"], ["flat"]),
        node("MatMul", ["flat", "head"], ["raw"]),
        node("Softmax", ["raw"], ["out"], axis=-1),
    ]
    return save(path, nodes, weights, shape=("N", 32, 32, 3), **options)


def token_net(path: Path, *, reads: str = "class", **options: Any) -> Path:
    """A transformer of one block on 4 x 4 tokens of 8 channels, with a class token before them.

    `reads`: what the classifier is given of the tokens, the "class" token or their "mean".
    """
    weights: dict[str, NDArray[Any]] = {
        "patch": draw(1, 8, 3, 8, 8), "sizes": np.array([0, 8, 16], np.int64), "token": draw(2, 1, 1, 8),
        "place": draw(3, 1, 17, 8), "one": np.ones(8, np.float32), "none": np.zeros(8, np.float32),
        "q": draw(4, 8, 8), "k": draw(5, 8, 8), "v": draw(6, 8, 8), "up": draw(7, 8, 16), "down": draw(8, 16, 8),
        "head": draw(9, 8, 5), "first": np.array(0, np.int64), "axis": np.array([1], np.int64),
        "batch": np.array([0], np.int64), "rest": np.array([1, 8], np.int64),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "patch"], ["patches"], strides=[8, 8]),
        node("Reshape", ["patches", "sizes"], ["rows"]),
        node("Transpose", ["rows"], ["tokens"], perm=[0, 2, 1]),
        node("Shape", ["tokens"], ["shape"]),
        node("Slice", ["shape", "batch", "axis"], ["many"]),
        node("Concat", ["many", "rest"], ["wide"], axis=0),
        node("Expand", ["token", "wide"], ["tokens_of_class"]),
        node("Concat", ["tokens_of_class", "tokens"], ["joined"], axis=1),
        node("Add", ["joined", "place"], ["entered"]),
        node("LayerNormalization", ["entered", "one", "none"], ["normed"]),
        *(node("MatMul", ["normed", name], [f"{name}s"]) for name in "qkv"),
        node("Transpose", ["ks"], ["turned"], perm=[0, 2, 1]),
        node("MatMul", ["qs", "turned"], ["scores"]),
        node("Softmax", ["scores"], ["weighs"], axis=-1),
        node("MatMul", ["weighs", "vs"], ["attended"]),
        node("Add", ["entered", "attended"], ["mixed"]),
        node("LayerNormalization", ["mixed", "one", "none"], ["mixed_normed"]),
        node("MatMul", ["mixed_normed", "up"], ["hidden"]),
        node("Relu", ["hidden"], ["active"]),
        node("MatMul", ["active", "down"], ["narrow"]),
        node("Add", ["mixed", "narrow"], ["block"]),
        node("LayerNormalization", ["block", "one", "none"], ["last"]),
        node("Gather", ["last", "first"], ["read"], axis=1)
        if reads == "class"
        else node("ReduceMean", ["last", "axis"], ["read"], keepdims=0),
        node("MatMul", ["read", "head"], ["raw"]),
        node("Softmax", ["raw"], ["out"], axis=-1),
    ]
    return save(path, nodes, weights, **options)
