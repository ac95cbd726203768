"""From a blueprint and its weights to an ONNX model.

The model takes `image`, uint8 (N, H, W, 3), RGB, and gives `logits` and `probabilities`, float32 (N, classes).
Every cut point of the blueprint is a tensor of exactly that name inside the graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.architectures.blueprint import Blueprint, Layer
from models.errors import ModelError, WeightsError
from models.names import INPUT, LOGITS, PROBABILITIES
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
    graph = _Graph(half)
    values = {blueprint.INPUT: _normalized(graph, mean, std)}
    public = {layer: cut for cut, layer in reversed(blueprint.cuts.items())}  # the first name of a layer wins
    for layer in blueprint.layers:
        inputs = [values[x] for x in layer.inputs]
        output = public.get(layer.name, layer.name)
        values[layer.name] = _emit(graph, layer, inputs, output, tensors, fold, blueprint.batch_norm_epsilon)
    for cut, source in blueprint.cuts.items():
        if values[source] != cut:  # a layer with two names, or one that does nothing at inference
            graph.node("Identity", [values[source]], cut)
    graph.node("Softmax", [LOGITS], PROBABILITIES, axis=-1)
    return _model(graph, blueprint, name)


@dataclass
class _Graph:
    """Collects the nodes and initializers of the ONNX graph. Methods return the name of the tensor they add."""

    half: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, values: NDArray[np.floating[Any]]) -> str:
        self.initializers.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def kernel(self, name: str, values: NDArray[np.floating[Any]]) -> str:
        """A large constant, the one kind that is worth storing in half precision."""
        if not self.half:
            return self.constant(name, values)
        with np.errstate(over="ignore"):
            small = values.astype(np.float16)
        if not np.isfinite(small).all():
            raise WeightsError(
                f"{name} reaches {np.abs(values).max():.3g}; half precision ends at 65504. Build with half=False."
            )
        self.initializers.append(numpy_helper.from_array(small, f"{name}.half"))
        return self.node("Cast", [f"{name}.half"], name, to=TensorProto.FLOAT)


def _normalized(graph: _Graph, mean: Sequence[float], std: Sequence[float]) -> str:
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
    planes = graph.node("Transpose", [INPUT], "image.planes", perm=[0, 3, 1, 2])
    pixels = graph.node("Cast", [planes], "image.float", to=TensorProto.FLOAT)
    shift_name = graph.constant("image.mean", shift.reshape(1, 3, 1, 1))
    scale_name = graph.constant("image.scale", (1 / scale).reshape(1, 3, 1, 1))
    centred = graph.node("Sub", [pixels, shift_name], "image.centred")
    return graph.node("Mul", [centred, scale_name], "image.normalized")


def _emit(
    graph: _Graph,
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
            convolve = _folded if fold else _unfolded
            x = convolve(graph, layer, inputs[0], f"{output}.linear", tensors, epsilon, window)
            return graph.node("Relu", [x], output)
        case "max_pool":
            return graph.node("MaxPool", inputs, output, **window)
        case "avg_pool":
            return graph.node(
                "AveragePool", inputs, output, count_include_pad=int(layer.count_include_pad), **window
            )
        case "concat":
            return graph.node("Concat", inputs, output, axis=1)
        case "global_pool":
            maps = graph.node("GlobalAveragePool", inputs, f"{output}.map")  # (N, C, 1, 1)
            return graph.node("Flatten", [maps], output)
        case "dropout":
            return inputs[0]
        case "dense":
            kernel = graph.kernel(f"{layer.name}.weight", tensors[f"{layer.name}.weight"])
            bias = graph.constant(f"{layer.name}.bias", tensors[f"{layer.name}.bias"])
            return graph.node("Gemm", [inputs[0], kernel, bias], output, transB=1)


def _folded(
    graph: _Graph,
    layer: Layer,
    x: str,
    output: str,
    tensors: Weights,
    epsilon: float,
    window: Mapping[str, Any],
) -> str:
    """A convolution with its batch norm inside: kernel * s and shift - mean * s, s = scale / sqrt(variance + e)."""
    scale, shift, mean, variance = (
        tensors[f"{layer.name}.bn.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    factor = scale / np.sqrt(variance + epsilon)
    kernel = tensors[f"{layer.name}.conv.weight"] * factor[:, None, None, None]  # (F, C, H, W)
    names = [
        graph.kernel(f"{layer.name}.conv.weight", kernel),
        graph.constant(f"{layer.name}.conv.bias", shift - mean * factor),
    ]
    return graph.node("Conv", [x, *names], output, **window)


def _unfolded(
    graph: _Graph,
    layer: Layer,
    x: str,
    output: str,
    tensors: Weights,
    epsilon: float,
    window: Mapping[str, Any],
) -> str:
    """A convolution and its batch norm as two nodes."""
    kernel = graph.kernel(f"{layer.name}.conv.weight", tensors[f"{layer.name}.conv.weight"])
    x = graph.node("Conv", [x, kernel], f"{output}.conv", **window)
    names = [f"{layer.name}.bn.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    for name in names:
        graph.constant(name, tensors[name])
    return graph.node("BatchNormalization", [x, *names], output, epsilon=epsilon)


def _model(graph: _Graph, blueprint: Blueprint, name: str) -> onnx.ModelProto:
    height, width = blueprint.input_size
    floats: dict[str, Sequence[str | int]] = {
        cut: (_BATCH, *blueprint.shape(layer)) for cut, layer in blueprint.cuts.items()
    }
    infos = {cut: helper.make_tensor_value_info(cut, TensorProto.FLOAT, s) for cut, s in floats.items()}
    outputs = [
        infos.pop(LOGITS),
        helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, floats[LOGITS]),
    ]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            name,
            [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, (_BATCH, height, width, 3))],
            outputs,
            graph.initializers,
            value_info=list(infos.values()),
        ),
        opset_imports=opset_imports(),
        producer_name="graft",
    )
    model.ir_version = IR_VERSION
    return model
