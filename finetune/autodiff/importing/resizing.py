"""Resize as matrix products: along each axis, values of the result are weighted sums of those that there are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from finetune.autodiff.importing.node import Node
from finetune.autodiff.ops.matmul import einsum
from finetune.autodiff.shapes import known
from finetune.autodiff.tensor import Tensor
from models.errors import GraphError
from models.opset import IR_VERSION, OPSET
from models.runtime import OnnxSession, RuntimeConfig

_LETTERS = "abcdefgh"


def resize(
    node: Node,
    x: Tensor,
    region: NDArray[Any] | None = None,
    scales: NDArray[Any] | None = None,
    sizes: NDArray[Any] | None = None,
) -> Tensor:
    """Resize in any mode, by factors or to sizes.

    Raises:
        GraphError: a region to crop, a kept aspect ratio, or sizes that are known only when the network runs.
    """
    if node.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise GraphError(f"{node}: tf_crop_and_resize is not supported; crop before the network.")
    if node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise GraphError(f"{node}: a kept aspect ratio is not supported; export it with both sizes.")
    axes = [axis % x.rank for axis in node.get("axes", range(x.rank))]
    by_factor = scales is not None and scales.size
    wanted = scales if by_factor else sizes
    if wanted is None or not wanted.size:
        if node.shape is None or None in node.shape[1:]:
            raise GraphError(f"{node}: its sizes are known only when it runs; export it with fixed ones.")
        axes, wanted = list(range(1, x.rank)), np.array(node.shape[1:])
    for axis, target in zip(axes, wanted.tolist(), strict=True):
        if target == (1 if by_factor else x.shape[axis]) or (axis == 0 and not by_factor):
            continue
        (size,) = known(str(node), [x.shape[axis]])
        weights = x.graph.constant(_weights(node, size, target, bool(by_factor)).astype(x.graph.dtype))
        letters = _LETTERS[: x.rank]
        x = einsum(f"{letters},{letters[axis]}z->{letters.replace(letters[axis], 'z')}", x, weights)
    return x


def _weights(node: Node, size: int, target: float, by_factor: bool) -> NDArray[np.float32]:
    """What each of `size` values is for each of the result, (size, result): the node itself, given one at a time."""
    attributes = {key: value for key, value in node.attributes.items() if key != "axes"}
    inputs = ["x", "", "wanted"] if by_factor else ["x", "", "", "wanted"]
    kind, whole = (
        (TensorProto.FLOAT, [1.0, 1.0, 1.0, target])
        if by_factor
        else (TensorProto.INT64, [1, 1, size, target])
    )
    graph = helper.make_graph(
        [helper.make_node("Resize", inputs, ["y"], **attributes)],
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("wanted", kind, [4], whole)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    session = OnnxSession(model.SerializeToString(), RuntimeConfig(device="cpu", threads=1))
    (result,) = session.run({"x": np.eye(size, dtype=np.float32)[None, None]})
    return np.asarray(result[0, 0])
