"""Constants of an ONNX model that are computed anew in each run, computed once."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from models.graph import reads

Array = NDArray[Any]


def fold_constants(model: ModelProto) -> None:
    """Replace nodes that depend on constants alone by initializers, which have the names of their outputs."""
    graph = model.graph
    known = {value.name for value in graph.initializer}
    folded: list[NodeProto] = []
    kept: list[NodeProto] = []
    for node in graph.node:  # in topological order, as ONNX demands
        inputs = set(reads(node))
        if node.op_type == "Constant" or (inputs and inputs <= known):
            folded.append(node)
            known.update(node.output)
        else:
            kept.append(node)
    if not folded:
        return
    used = {name for node in kept for name in reads(node)} | {value.name for value in graph.output}
    wanted = [name for node in folded for name in node.output if name in used]
    values = _evaluate(model, folded, wanted)
    rest = [value for value in graph.initializer if value.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(rest)
    graph.initializer.extend(numpy_helper.from_array(values[name], name) for name in wanted)


def _evaluate(model: ModelProto, nodes: list[NodeProto], wanted: list[str]) -> dict[str, Array]:
    used = {name for node in nodes for name in reads(node)}
    weights = [value for value in model.graph.initializer if value.name in used]
    outputs = [helper.make_empty_tensor_value_info(name) for name in wanted]
    opsets = copy.deepcopy(list(model.opset_import))
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in nodes):
        for entry in opsets:
            if entry.domain in ("", "ai.onnx"):  # onnx can evaluate these two from there on
                entry.version = max(entry.version, 19)
    part = helper.make_model(
        helper.make_graph(nodes, "constants", [], outputs, weights),
        opset_imports=opsets,
        ir_version=model.ir_version,
        functions=model.functions,
    )
    results = ReferenceEvaluator(part).run(None, {})
    return {name: np.asarray(value) for name, value in zip(wanted, results, strict=True)}
