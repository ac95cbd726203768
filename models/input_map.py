"""What a network does to its pixels before its first layer: an affine map of each channel, computed from its graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from models.errors import GraftError
from models.graph import element_type, needed, reads, shape_of, weight_names
from models.runtime import OnnxSession, RuntimeConfig

# What no arithmetic on single pixels ends in. All else is followed, and whether it was affine is measured.
_LAYERS = (
    *("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "FusedConv", "NhwcConv"),
    *("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "FusedMatMul", "FusedGemm", "Einsum"),
    *("QuantizeLinear", "DynamicQuantizeLinear", "LRN"),
)
_MIXES = ("Pool", "Reduce", "InstanceNorm", "LayerNorm", "GroupNorm", "LpNorm")  # in the names of others
_SIZES = ("Shape", "Size")
_MIX = (0.3, 0.7, 0.5)  # a colour that no other probe is made of
_TOLERANCE = 1e-2  # of half precision, after one or two sums

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class InputMap:
    """What reaches the first layer is `gain * value + shift`, for each channel of the input in its order."""

    gain: tuple[float, float, float]
    shift: tuple[float, float, float]


@dataclass(frozen=True)
class InputRange:
    """The lowest and the highest value that a quantised network tells apart in its input."""

    low: float
    high: float


def input_map(model: ModelProto, source: str, layout: str, size: tuple[int, int]) -> InputMap | None:
    """The map between the input and what reads it first; None where there is none, or none of single channels.

    The sub-graph between them is run on images of one colour: any spelling of the same arithmetic gives the same map.
    """
    graph = model.graph
    reached = _first_read(graph, source)
    if reached is None or reached == source:
        return None
    step = 100.0 if element_type(graph.input[0]) == TensorProto.UINT8 else 1.0
    session = _session(model, source, reached)
    if session is None:
        return None
    colours = [np.zeros(3), *np.eye(3) * step, np.array(_MIX) * step]
    try:
        values = [_run(session, graph, source, layout, size, colour) for colour in colours]
    except GraftError:
        return None
    return _fitted(np.stack(values), step)


def input_range(model: ModelProto, source: str) -> InputRange | None:
    """The range of the quantisation that reads the input; None where no such node does."""
    weights = {value.name: value for value in model.graph.initializer}
    for node in model.graph.node:
        if source in node.input and node.op_type == "QuantizeLinear":
            known = [weights.get(name) for name in node.input[1:3]]
            if len(known) < 2 or None in known:
                return None
            scale, zero = (_first_value(value) for value in known)
            low, high = (-128, 127) if known[1].data_type == TensorProto.INT8 else (0, 255)  # type: ignore[union-attr]
            return InputRange((low - zero) * scale, (high - zero) * scale)
    return None


def _first_value(tensor: Any) -> float:
    return float(numpy_helper.to_array(tensor).ravel()[0])


def _first_read(graph: GraphProto, source: str) -> str | None:
    """The tensor that the first layer reads."""
    carried, constants = {source}, weight_names(graph)
    for node in graph.node:
        names = set(reads(node))
        if not names & carried:
            if names <= constants:
                constants.update(node.output)
        elif node.op_type in _SIZES:
            constants.update(node.output)
        elif node.op_type in _LAYERS or any(word in node.op_type for word in _MIXES):
            return next((str(name) for name in node.input if name in carried), None)
        else:
            carried.update(node.output)
    return None


def _session(model: ModelProto, source: str, reached: str) -> OnnxSession | None:
    """A session of what lies between two tensors."""
    graph = model.graph
    kept = [graph.node[i] for i in sorted(needed(graph, [reached]))]
    used = {name for node in kept for name in reads(node)}
    part = GraphProto(name="input")
    part.node.extend(kept)
    part.input.append(graph.input[0])
    part.initializer.extend(value for value in graph.initializer if value.name in used)
    part.node.append(helper.make_node("Cast", [reached], ["reached/float"], to=TensorProto.FLOAT))
    part.output.append(helper.make_tensor_value_info("reached/float", TensorProto.FLOAT, None))
    alone = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, graph=part)
    try:
        return OnnxSession(alone.SerializeToString(), RuntimeConfig(device="cpu", threads=1))
    except GraftError:
        return None


def _run(
    session: OnnxSession, graph: GraphProto, source: str, layout: str, size: tuple[int, int], colour: Floats
) -> Floats:
    """What one image of a colour becomes, (values,)."""
    dtype = helper.tensor_dtype_to_np_dtype(element_type(graph.input[0]))
    rows = max(shape_of(graph.input[0])[0], 1)
    shape = (rows, 3, *size) if layout == "nchw" else (rows, *size, 3)
    image = np.empty(shape, dtype)
    image[:] = colour.reshape((3, 1, 1) if layout == "nchw" else (3,))
    return np.asarray(session.run({source: image})[0], np.float64).ravel()


def _fitted(values: Floats, step: float) -> InputMap | None:
    """The map behind values (5, E): of black, of each colour alone, and of a mixture, where each is of one channel."""
    black, slopes = values[0], (values[1:4] - values[0]) / step  # (E,), (3, E)
    guess = black + step * np.array(_MIX) @ slopes
    size = np.abs(values).max(axis=0) + 1e-6
    if not np.isfinite(values).all() or (np.abs(guess - values[4]) > _TOLERANCE * size).any():
        return None
    steep = np.abs(slopes)
    own = steep.argmax(axis=0)  # (E,): which channel a value is of
    largest = steep.max(axis=0)
    counts = largest > 1e-9  # a padded border is of none
    if not counts.any() or (steep.sum(axis=0) - largest > _TOLERANCE * largest)[counts].any():
        return None
    gains, shifts = [], []
    for channel in range(3):
        places = counts & (own == channel)
        if not places.any():
            return None
        gain = slopes[channel, places]
        if np.ptp(gain) > _TOLERANCE * np.abs(gain).max():
            return None
        gains.append(float(gain.mean()))
        shifts.append(float(black[places].mean()))
    return InputMap((gains[0], gains[1], gains[2]), (shifts[0], shifts[1], shifts[2]))
