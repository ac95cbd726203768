"""Shapes that a network computes while it runs: most are known but for the batch.

Exporters write `x.view(x.size(0), -1)` and `x.chunk(2, 1)` as arithmetic on Shape nodes. The network is looked at
with two batches of unlikely sizes: what is the same for both does not depend on the batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from finetune.autodiff.shapes import Shape
from models.graph import producers
from models.sizes import BATCH, batch_of, sizes_of

Array = NDArray[Any]
_BATCHES = (7919, 10007)  # primes: no product of other sizes is taken for the batch


def settle_sizes(model: ModelProto) -> dict[str, Shape]:
    """Replace what nodes compute from shapes alone by constants; for Reshape, 0 stands for the batch.

    Returns the sizes of every tensor as far as they can be known, None where they depend on the batch; nothing for a
    file that fixes it, whose constants hold it. Other constants are folded already.
    """
    one, other = (sizes_of(model, batch) for batch in _BATCHES)
    made, computed = producers(model.graph), one.values.keys() & other.values.keys()
    settled_inputs: dict[str, Array] = {}
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if node.output[0] in computed or name not in made or name not in computed:
                continue
            zero = node.op_type == "Reshape" and i == 1
            settled = _without_batch(one.values[name], other.values[name], zero)
            if settled is not None:
                node.input[i] = f"{name}/settled{'_0' if (settled == 0).any() else ''}"
                settled_inputs[node.input[i]] = settled
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in settled_inputs.items()
    )
    if batch_of(model) != BATCH:
        return {}
    return {
        name: tuple(a if a == b else None for a, b in zip(shape, other.shapes[name], strict=True))
        for name, shape in one.shapes.items()
        if name in other.shapes
    }


def _without_batch(one: Array, other: Array, zero: bool) -> Array | None:
    """What does not differ between the two batches; with `zero`, 0 in the places of the batch itself."""
    if one.shape != other.shape:
        return None
    if np.array_equal(one, other):
        return one
    batch = (one == _BATCHES[0]) & (other == _BATCHES[1])
    return np.where(batch, 0, one) if zero and ((one == other) | batch).all() else None
