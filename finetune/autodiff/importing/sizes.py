"""Shapes that a network computes while it runs: most are known but for the batch.

Exporters write `x.view(x.size(0), -1)` and `x.chunk(2, 1)` as arithmetic on Shape nodes. The network is looked at
with two batches of unlikely sizes: what is the same for both does not depend on the batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper, shape_inference

from finetune.autodiff.folding import fold_constants
from finetune.autodiff.shapes import Shape
from models.graph import producers, shape_of
from models.sizes import BATCH, batch_of, sizes_of

Array = NDArray[Any]
_BATCHES = (7919, 10007)  # primes: no product of other sizes is taken for the batch


def output_shapes(model: ModelProto) -> dict[str, Shape]:
    """Sizes of every tensor as far as they can be known, None where they depend on a batch that is free."""
    if batch_of(model) != BATCH:
        return {}
    one, other = (sizes_of(model, batch).shapes for batch in _BATCHES)
    return {
        name: tuple(a if a == b else None for a, b in zip(shape, other[name], strict=True))
        for name, shape in one.items()
        if name in other
    }


def settle_sizes(model: ModelProto, source: str) -> None:
    """Replace what nodes compute from shapes alone by constants; for Reshape, 0 stands for the batch.

    Other constants are folded already. `source`: the input whose first size is the batch.
    """
    if not any(node.op_type == "Shape" for node in model.graph.node):
        return
    one, other = (_constants(model, source, batch) for batch in _BATCHES)
    made = producers(model.graph)
    settled_inputs: dict[str, Array] = {}
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if node.output[0] in one or name not in made or name not in one or name not in other:
                continue
            settled = _without_batch(one[name], other[name], zero=node.op_type == "Reshape" and i == 1)
            if settled is not None:
                node.input[i] = f"{name}/settled{'_0' if (settled == 0).any() else ''}"
                settled_inputs[node.input[i]] = settled
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in settled_inputs.items()
    )


def _constants(model: ModelProto, source: str, batch: int) -> dict[str, Array]:
    """What is constant in a network once the batch is."""
    trial = ModelProto()
    trial.CopyFrom(model)
    del trial.graph.value_info[:]
    for value in trial.graph.output:
        value.type.tensor_type.ClearField("shape")
    for value in trial.graph.input:
        if value.name == source and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = batch
    while _settle_shapes(trial):
        fold_constants(trial)
    return {value.name: numpy_helper.to_array(value) for value in trial.graph.initializer}


def _settle_shapes(model: ModelProto) -> bool:
    """Turn Shape nodes of known shapes into constants; whether there were any."""
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: shape_of(value)
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
        if value.type.tensor_type.HasField("shape")
    }
    settled = []
    for node in model.graph.node:
        shape = shapes.get(node.input[0], (-1,)) if node.op_type == "Shape" else (-1,)
        if -1 not in shape:
            bounds = {attribute.name: attribute.i for attribute in node.attribute}
            sizes = np.array(shape[bounds.get("start", 0) : bounds.get("end")], np.int64)
            model.graph.initializer.append(numpy_helper.from_array(sizes, node.output[0]))
            settled.append(node)
    for node in settled:
        model.graph.node.remove(node)
    return bool(settled)


def _without_batch(one: Array, other: Array, zero: bool) -> Array | None:
    """What does not differ between the two batches; with `zero`, 0 in the places of the batch itself."""
    if one.shape != other.shape:
        return None
    if np.array_equal(one, other):
        return one
    batch = (one == _BATCHES[0]) & (other == _BATCHES[1])
    return np.where(batch, 0, one) if zero and ((one == other) | batch).all() else None
