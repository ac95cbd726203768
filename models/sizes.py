"""The shapes of all tensors of a network, also where it computes them while it runs.

Exporters write `x.view(x.size(0), -1)` as arithmetic on Shape nodes, through which onnx's inference does not see far.
Here the batch is given an unlikely size, what depends on shapes alone is computed, and inference goes on from there.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from models.graph import input_names, reads, shape_of, without_weights

BATCH = 7919  # a prime: no product of other sizes is taken for the batch
_SMALL = 1024  # values of a weight that may be sizes
_COMPUTED = 2**20  # values of a tensor that is computed of sizes, such as a mask
Shapes = dict[str, tuple[int, ...]]
Values = dict[str, NDArray[Any]]


class Sizes(NamedTuple):
    """`shapes`: of tensors of which all sizes are known. `values`: of small ones that depend on shapes alone."""

    shapes: Shapes
    values: Values


def batch_of(model: ModelProto) -> int:
    """The size that stands for the batch in `sizes_of`: the file's own where that is fixed, else BATCH."""
    fed = set(input_names(model.graph))
    sizes = [shape_of(value) for value in model.graph.input if value.name in fed]
    return next((size[0] for size in sizes if size and size[0] > 0), BATCH)


def sizes_of(model: ModelProto, batch: int | None = None) -> Sizes:
    """What is known of the tensors of a network for a batch of `batch` images, by default `batch_of(model)`."""
    trial = without_weights(model)
    graph, batch = trial.graph, batch or batch_of(model)
    fed = set(input_names(graph))
    for value in graph.input:
        if value.name in fed and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = batch
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    values = {v.name: numpy_helper.to_array(v) for v in graph.initializer if _small(v)}
    while True:
        shapes = {**{v.name: tuple(v.dims) for v in graph.initializer}, **_inferred(trial)}
        computed = _compute(graph.node, shapes, values)
        if not computed:
            return Sizes(shapes, values)
        kept = [node for node in graph.node if not computed.keys() >= set(node.output)]
        del graph.node[:]
        graph.node.extend(kept)
        graph.initializer.extend(numpy_helper.from_array(values[name], name) for name in computed)


def _small(value: TensorProto) -> bool:
    # The weights of `without_weights` have shapes and no values.
    return bool(math.prod(value.dims) <= _SMALL)


def _inferred(model: ModelProto) -> Shapes:
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    every = (*inferred.input, *inferred.value_info, *inferred.output)
    known = {v.name: shape_of(v) for v in every if v.type.tensor_type.HasField("shape")}
    return {name: shape for name, shape in known.items() if -1 not in shape}


def _compute(nodes: Iterable[NodeProto], sizes: Shapes, values: Values) -> Values:
    """Compute what depends on shapes and small constants alone, into `values`; what is new."""
    new: Values = {}
    for node in nodes:
        inputs = set(reads(node))
        if node.op_type == "Shape" and node.input[0] in sizes:
            bounds = {attribute.name: attribute.i for attribute in node.attribute}
            shape = sizes[node.input[0]][bounds.get("start", 0) : bounds.get("end")]
            new[node.output[0]] = np.array(shape, np.int64)
        elif node.op_type == "Size" and node.input[0] in sizes:
            new[node.output[0]] = np.array(math.prod(sizes[node.input[0]]), np.int64)
        elif inputs <= values.keys() and (inputs or node.op_type == "Constant"):
            new |= _evaluated(node, values)
        values |= new
    return new


def _evaluated(node: NodeProto, values: Values) -> Values:
    """Outputs of a node of constants, as far as they can be computed and are not large."""
    results: list[Any] = []
    with contextlib.suppress(Exception):  # the evaluator raises whatever its operators raise
        results = list(ReferenceEvaluator(node).run(None, {name: values[name] for name in reads(node)}))
    arrays = {name: np.asarray(v) for name, v in zip(node.output, results, strict=False) if v is not None}
    return {name: array for name, array in arrays.items() if array.size <= _COMPUTED}
