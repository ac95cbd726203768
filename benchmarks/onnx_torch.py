"""An ONNX network as a PyTorch module, for comparisons: the operators of InceptionV3 and MobileNetV2 and no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from models.errors import GraphError

Options = dict[str, Any]
_TYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.INT64: torch.int64,
}


class OnnxNetwork(nn.Module):
    """The part of a network between two tensors; its weights are parameters, in the order of the network."""

    def __init__(self, model: ModelProto, start: str, end: str) -> None:
        """Take the nodes that `end` needs behind `start`.

        Raises:
            GraphError: an operator that is not here.
        """
        super().__init__()
        self.start, self.end = start, end
        made = {name: node for node in model.graph.node for name in node.output}
        constants = {value.name: value for value in model.graph.initializer}
        wanted, needed = [end], set()
        while wanted:
            name = wanted.pop()
            if name != start and name in made and name not in needed:
                needed.add(name)
                wanted += made[name].input
        self.nodes = [node for node in model.graph.node if node.output[0] in needed]
        self.options = [
            {a.name: helper.get_attribute_value(a) for a in node.attribute} for node in self.nodes
        ]
        self.weights: dict[str, str] = {}  # name in the file -> name of the parameter or buffer
        for node in self.nodes:
            if node.op_type not in _OPERATORS:
                raise GraphError(
                    f"{node.op_type}, which gives {node.output[0]}, has no rule here. Add one to _OPERATORS."
                )
            for position, name in enumerate(node.input):
                if name in constants and name not in self.weights:
                    self._keep(name, constants[name], node, position)

    def _keep(self, name: str, value: TensorProto, node: NodeProto, position: int) -> None:
        tensor = torch.from_numpy(numpy_helper.to_array(value).copy())
        self.weights[name] = f"w{len(self.weights)}"
        if node.op_type in ("Conv", "Gemm") or (node.op_type == "BatchNormalization" and position < 3):
            self.register_parameter(self.weights[name], nn.Parameter(tensor))
        else:
            self.register_buffer(self.weights[name], tensor)

    def forward(self, x: Tensor) -> Tensor:
        values = {self.start: x}
        for node, options in zip(self.nodes, self.options, strict=True):
            inputs = [
                getattr(self, self.weights[name]) if name in self.weights else values.get(name)
                for name in node.input
            ]
            values[node.output[0]] = _OPERATORS[node.op_type](inputs, options)
        return values[self.end]


def _padding(x: Tensor, kernel: Sequence[int], options: Options, value: float = 0.0) -> tuple[Tensor, Any]:
    """What is left for the operator to pad, and the input with the rest: PyTorch pads both ends alike."""
    top, left, bottom, right = _pads(x, kernel, options)
    if (top, left) == (bottom, right):
        return x, (top, left)
    return functional.pad(x, (left, right, top, bottom), value=value), 0


def _pads(x: Tensor, kernel: Sequence[int], options: Options) -> tuple[int, ...]:
    mode = options.get("auto_pad", b"NOTSET").decode()
    if mode == "NOTSET":
        return tuple(options.get("pads", (0, 0, 0, 0)))
    if mode == "VALID":
        return (0, 0, 0, 0)
    first, second = [], []
    for size, window, stride in zip(x.shape[2:], kernel, options.get("strides", (1, 1)), strict=True):
        whole = max((-(-size // stride) - 1) * stride + window - size, 0)
        small, large = whole // 2, whole - whole // 2
        first.append(small if mode == "SAME_UPPER" else large)
        second.append(large if mode == "SAME_UPPER" else small)
    return (*first, *second)


def _conv(inputs: list[Any], options: Options) -> Tensor:
    x, padding = _padding(inputs[0], inputs[1].shape[2:], options)
    return functional.conv2d(
        x,
        inputs[1],
        inputs[2] if len(inputs) > 2 else None,
        options.get("strides", 1),
        padding,
        options.get("dilations", 1),
        options.get("group", 1),
    )


def _max_pool(inputs: list[Any], options: Options) -> Tensor:
    x, padding = _padding(inputs[0], options["kernel_shape"], options, float("-inf"))
    return functional.max_pool2d(
        x,
        options["kernel_shape"],
        options.get("strides", 1),
        padding,
        ceil_mode=bool(options.get("ceil_mode", 0)),
    )


def _average_pool(inputs: list[Any], options: Options) -> Tensor:
    top, left, bottom, right = _pads(inputs[0], options["kernel_shape"], options)
    if (top, left) != (bottom, right):
        raise GraphError(
            f"an average pool is padded by {(top, left)} before and {(bottom, right)} behind; avg_pool2d takes the "
            "same on both sides alone. Add a rule that counts the padding."
        )
    return functional.avg_pool2d(
        inputs[0],
        options["kernel_shape"],
        options.get("strides", 1),
        (top, left),
        bool(options.get("ceil_mode", 0)),
        bool(options.get("count_include_pad", 0)),
    )


def _gemm(inputs: list[Any], options: Options) -> Tensor:
    a, b = (
        x.T if options.get(flag, 0) else x for x, flag in zip(inputs[:2], ("transA", "transB"), strict=True)
    )
    product = options.get("alpha", 1.0) * (a @ b)
    return product + options.get("beta", 1.0) * inputs[2] if len(inputs) > 2 else product


def _batch_norm(inputs: list[Any], options: Options) -> Tensor:
    x, scale, shift, mean, variance = inputs
    return functional.batch_norm(x, mean, variance, scale, shift, eps=options.get("epsilon", 1e-5))


def _clip(inputs: list[Any], options: Options) -> Tensor:
    low, high = (float(value) if value is not None else None for value in (*inputs[1:], None, None)[:2])
    return torch.clamp(inputs[0], low, high)


_OPERATORS: dict[str, Callable[[list[Any], Options], Tensor]] = {
    "Add": lambda x, _: x[0] + x[1],
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": lambda x, options: x[0].to(_TYPES[options["to"]]),
    "Clip": _clip,
    "Concat": lambda x, options: torch.cat(x, options["axis"]),
    "Conv": _conv,
    "Flatten": lambda x, options: torch.flatten(x[0], options.get("axis", 1)),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda x, _: x[0].mean((2, 3), keepdim=True),
    "Identity": lambda x, _: x[0],
    "MaxPool": _max_pool,
    "Mul": lambda x, _: x[0] * x[1],
    "Relu": lambda x, _: torch.relu(x[0]),
    "Transpose": lambda x, options: x[0].permute(options["perm"]),
}
