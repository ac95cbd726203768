"""A blueprint of `models.architectures` as a PyTorch module, for training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.architectures.blueprint import Blueprint, Layer


class ConvNormRelu(nn.Module):
    """Convolution without bias, batch norm, ReLU; parameters named as torchvision names them."""

    def __init__(self, channels: int, layer: Layer, epsilon: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, layer.filters, layer.kernel, layer.stride, layer.padding, bias=False)
        self.bn = nn.BatchNorm2d(layer.filters, eps=epsilon)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)), inplace=True)


class Network(nn.Module):
    """Runs the layers of a blueprint in order and returns the fetched cut points.

    The state dictionary is what `models.build` expects: `<layer>.conv.weight`, `<layer>.bn.*`, `fc.weight`.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        self.layers, self.cuts, self.entry = blueprint.layers, blueprint.cuts, blueprint.INPUT
        for layer in self.layers:
            channels = blueprint.shape(layer.inputs[0])[0]
            if layer.op == "conv":
                self.add_module(
                    module_name(layer), ConvNormRelu(channels, layer, blueprint.batch_norm_epsilon)
                )
            elif layer.op == "dense":
                self.add_module(module_name(layer), nn.Linear(channels, layer.filters))

    def forward(self, images: Tensor, fetches: tuple[str, ...] = ("logits",)) -> tuple[Tensor, ...]:
        values = {self.entry: images}
        for layer in self.layers:
            values[layer.name] = self.run(layer, [values[name] for name in layer.inputs])
        return tuple(values[self.cuts[name]] for name in fetches)

    def run(self, layer: Layer, xs: list[Tensor]) -> Tensor:
        """Output of one layer."""
        if layer.op in ("conv", "dense"):
            return self.get_submodule(module_name(layer))(xs[0])
        if layer.op == "max_pool":
            return functional.max_pool2d(xs[0], layer.kernel, layer.stride, layer.padding)
        if layer.op == "avg_pool":
            return functional.avg_pool2d(
                xs[0], layer.kernel, layer.stride, layer.padding, count_include_pad=layer.count_include_pad
            )
        if layer.op == "concat":
            return torch.cat(xs, 1)
        if layer.op == "global_pool":
            return xs[0].float().mean((2, 3))
        return functional.dropout(xs[0], layer.rate, self.training)


def module_name(layer: Layer) -> str:
    """PyTorch keeps the dot for modules inside modules."""
    return layer.name.replace(".", "_")
