"""Zeros around a map of which maxima are taken, kept through onnxruntime's optimisation."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from models.graph import producers


def keep_padding(model: ModelProto) -> None:
    """Pad with the smallest number above 0 where zeros stand in front of a MaxPool, in place.

    onnxruntime (seen in 1.31 and 1.32) folds a Pad of zeros into the MaxPool behind it, the padding of which counts for
    nothing: wrong where all that is in a window is negative, as at the borders of ResNetV2. It leaves other numbers
    alone, so the file is read rightly by whatever runs it.
    """
    graph = model.graph
    made, zeros = producers(graph), {value.name: value for value in graph.initializer}
    for pool in graph.node:
        pad = made.get(pool.input[0]) if pool.op_type == "MaxPool" else None
        if pad is None or pad.op_type != "Pad" or _mode(pad) != "constant" or len(pad.input) < 2:
            continue
        value = pad.input[2] if len(pad.input) > 2 else ""
        if value and (value not in zeros or numpy_helper.to_array(zeros[value]).any()):
            continue
        dtype = numpy_helper.to_array(zeros[value]).dtype if value else np.dtype(np.float32)
        if dtype.kind != "f":
            continue
        name = f"{pad.output[0]}/above_zero"
        graph.initializer.append(numpy_helper.from_array(np.array(np.finfo(dtype).tiny, dtype), name))
        pad.input.extend([""] * (3 - len(pad.input)))
        pad.input[2] = name


def _mode(pad: NodeProto) -> str:
    named = {attribute.name: helper.get_attribute_value(attribute) for attribute in pad.attribute}
    return str(named.get("mode", b"constant").decode())
