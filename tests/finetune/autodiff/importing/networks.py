"""Imports ONNX networks and runs them both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from finetune.autodiff import Graph, Session
from finetune.autodiff.importing import Imported, import_onnx
from models.opset import IR_VERSION

Array = NDArray[Any]
node = helper.make_node


def network(
    nodes: Sequence[NodeProto],
    weights: Mapping[str, Any] | None = None,
    shape: Sequence[int | str | None] = ("N", 3, 8, 8),
    outputs: Sequence[str] = ("y",),
    opset: int = 18,
) -> ModelProto:
    """A model with one float input `x`."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)


def reals(*shape: int, seed: int = 0) -> Array:
    """Normal numbers, float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def original(model: ModelProto, feeds: Mapping[str, Array], names: Sequence[str]) -> list[Array]:
    """What onnxruntime computes with the file itself; `names` may be any of its tensors."""
    copy = ModelProto()
    copy.CopyFrom(model)
    have = {value.name for value in copy.graph.output}
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in have)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        copy.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(list(names), feeds))


def imported(model: ModelProto, x: Array, **how: Any) -> tuple[Imported, Session, list[Array]]:
    """Import a network and compute its outputs."""
    with Graph() as graph:
        part = import_onnx(model, **how)
    session = Session(graph, device="cpu", threads=1)
    return part, session, session.run(list(part.outputs.values()), {part.input: x})


def largest_difference(got: Array, want: Array) -> float:
    """Largest difference, relative to the largest number."""
    assert got.shape == want.shape
    return float(np.abs(got - want).max() / np.abs(want).max())
