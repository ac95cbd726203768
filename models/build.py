"""From a blueprint and its weights to an ONNX model.

The model takes `image`, uint8 (N, H, W, 3), RGB, and gives `logits` and `probabilities`, float32 (N, classes).
Every cut point of the blueprint is a tensor of exactly that name inside the graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from models.architectures.blueprint import Blueprint, Layer
from models.errors import ModelError, WeightsError
from models.folding import batch_norm_factors
from models.names import INPUT, LOGITS, PROBABILITIES
from models.nodes import Nodes, floats
from models.opset import IR_VERSION, opset_imports
from models.weights.canonical import Weights, check

_BATCH = "N"


def build(
    blueprint: Blueprint,
    weights: Mapping[str, np.ndarray],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    fold: bool = True,
    half: bool = False,
    name: str = "graft",
) -> onnx.ModelProto:
    """Build the ONNX model of a network.

    `mean` and `std` are per channel (R, G, B), in units of x / 255. With `fold` batch norm disappears into the
    convolutions; without, it stays as nodes, for fine-tuning. With `half` kernels are stored in half precision,
    which halves the file; they are cast to float32 as the model is loaded, and so is everything computed.

    Raises:
        WeightsError: the weights do not fit the blueprint, or do not fit into half precision.
        ModelError: `mean` or `std` cannot be used.
    """
    tensors = check(blueprint, weights)
    nodes = _Nodes(half)
    values = {blueprint.INPUT: _normalized(nodes, mean, std)}
    public = {layer: cut for cut, layer in reversed(blueprint.cuts.items())}  # the first name of a layer wins
    for layer in blueprint.layers:
        inputs = [values[x] for x in layer.inputs]
        output = public.get(layer.name, layer.name)
        values[layer.name] = _emit(nodes, layer, inputs, output, tensors, fold, blueprint.batch_norm_epsilon)
    for cut, source in blueprint.cuts.items():
        if values[source] != cut:  # a layer with two names, or one that does nothing at inference
            nodes.add("Identity", values[source], output=cut)
    nodes.add("Softmax", LOGITS, output=PROBABILITIES, axis=-1)
    return _model(nodes, blueprint, name)


class _Nodes(Nodes):
    def __init__(self, half: bool) -> None:
        super().__init__()
        self._half = half

    def kernel(self, name: str, values: NDArray[np.floating[Any]]) -> str:
        """A large constant, the one kind that is worth storing in half precision."""
        if not self._half:
            return self.constant(name, values)
        with np.errstate(over="ignore"):
            small = values.astype(np.float16)
        if not np.isfinite(small).all():
            raise WeightsError(
                f"{name} reaches {np.abs(values).max():.3g}; half precision ends at 65504. Build with half=False."
            )
        return self.add(
            "Cast", self.constant(f"{name}.half", small, np.float16), output=name, to=TensorProto.FLOAT
        )


def _normalized(nodes: _Nodes, mean: Sequence[float], std: Sequence[float]) -> str:
    """(x / 255 - mean) / std, channels first.

    Two nodes of its own, not folded into the first convolution: where that one pads, the shift would be wrong at the
    border, and scaled kernels would lose digits in half precision. Their cost is far below a thousandth of a run.
    """
    shift, scale = 255 * np.asarray(mean, np.float64), 255 * np.asarray(std, np.float64)
    fits = shift.shape == scale.shape == (3,) and np.isfinite([shift, scale]).all() and (scale > 0).all()
    if not fits:
        raise ModelError(
            f"normalisation is mean {mean}, std {std}; expected three finite numbers each, std above 0. "
            "Correct the model's card."
        )
    # (N, H, W, C) to (N, C, H, W) while pixels are still bytes
    planes = nodes.add("Transpose", INPUT, output="image.planes", perm=[0, 3, 1, 2])
    pixels = nodes.add("Cast", planes, output="image.float", to=TensorProto.FLOAT)
    shift_name = nodes.constant("image.mean", shift.reshape(1, 3, 1, 1))
    scale_name = nodes.constant("image.scale", (1 / scale).reshape(1, 3, 1, 1))
    centred = nodes.add("Sub", pixels, shift_name, output="image.centred")
    return nodes.add("Mul", centred, scale_name, output="image.normalized")


def _emit(
    nodes: _Nodes,
    layer: Layer,
    inputs: list[str],
    output: str,
    tensors: Weights,
    fold: bool,
    epsilon: float,
) -> str:
    """Add the nodes of one layer; the name of its output."""
    window = {"kernel_shape": layer.kernel, "strides": layer.stride, "pads": layer.padding * 2}
    match layer.op:
        case "conv":
            x = _convolution(nodes, layer, inputs[0], f"{output}.linear", tensors, fold, epsilon, window)
            return nodes.add("Relu", x, output=output)
        case "max_pool":
            return nodes.add("MaxPool", *inputs, output=output, **window)
        case "avg_pool":
            return nodes.add(
                "AveragePool",
                *inputs,
                output=output,
                count_include_pad=int(layer.count_include_pad),
                **window,
            )
        case "concat":
            return nodes.add("Concat", *inputs, output=output, axis=1)
        case "global_pool":
            maps = nodes.add("GlobalAveragePool", *inputs, output=f"{output}.map")  # (N, C, 1, 1)
            return nodes.add("Flatten", maps, output=output)
        case "dropout":
            return inputs[0]
        case "dense":
            kernel = nodes.kernel(f"{layer.name}.weight", tensors[f"{layer.name}.weight"])
            bias = nodes.constant(f"{layer.name}.bias", tensors[f"{layer.name}.bias"])
            return nodes.add("Gemm", inputs[0], kernel, bias, output=output, transB=1)


def _convolution(
    nodes: _Nodes,
    layer: Layer,
    x: str,
    output: str,
    tensors: Weights,
    fold: bool,
    epsilon: float,
    window: Mapping[str, Any],
) -> str:
    """A convolution and its batch norm, which is inside it or a node of its own."""
    name, kernel = f"{layer.name}.conv.weight", tensors[f"{layer.name}.conv.weight"]  # (F, C, H, W)
    norm = [f"{layer.name}.bn.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    if fold:
        scale, shift = batch_norm_factors(*(tensors[part] for part in norm), epsilon=epsilon)
        weights = nodes.kernel(name, kernel * scale[:, None, None, None])
        bias = nodes.constant(f"{layer.name}.conv.bias", shift)
        return nodes.add("Conv", x, weights, bias, output=output, **window)
    x = nodes.add("Conv", x, nodes.kernel(name, kernel), output=f"{output}.conv", **window)
    statistics = [nodes.constant(part, tensors[part]) for part in norm]
    return nodes.add("BatchNormalization", x, *statistics, output=output, epsilon=epsilon)


def _model(nodes: _Nodes, blueprint: Blueprint, name: str) -> onnx.ModelProto:
    image = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, (_BATCH, *blueprint.input_size, 3))
    cuts = {cut: floats(cut, (_BATCH, *blueprint.shape(layer))) for cut, layer in blueprint.cuts.items()}
    logits = cuts.pop(LOGITS)
    probabilities = floats(PROBABILITIES, (_BATCH, *blueprint.shape(blueprint.cuts[LOGITS])))
    graph = helper.make_graph(nodes.nodes, name, [image], [logits, probabilities], nodes.weights)
    graph.value_info.extend(cuts.values())
    model = helper.make_model(graph, opset_imports=opset_imports(), producer_name="graft")
    model.ir_version = IR_VERSION
    return model
