"""A network written down as data: which layers there are, in what order, and how they are connected.

An architecture is one function that calls the methods of a `Blueprint`. Whatever needs the network reads the
finished list of layers: `models.build` turns it into ONNX, the training script of the built-in model turns it
into PyTorch modules. So an architecture is written once, and the two cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Pair = tuple[int, int]
Pads = tuple[int, int]  # (vertical, horizontal), the same at both ends
Op = Literal["conv", "max_pool", "avg_pool", "concat", "global_pool", "dropout", "dense"]


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


@dataclass(frozen=True)
class Layer:
    """One layer: its operation, its name (weights are looked up under it) and the layers that feed it."""

    op: Op
    name: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]  # of the output, without the batch: (C, H, W) or (C,)
    filters: int = 0
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pads = (0, 0)
    count_include_pad: bool = False
    rate: float = 0.0
    relu: bool = False


@dataclass
class Blueprint:
    """The layers of a network, recorded in the order in which they run.

    `input_size` is (height, width) of the RGB image; `batch_norm_epsilon` belongs to the published weights.
    Methods take and return layer names.
    """

    input_size: Pair
    batch_norm_epsilon: float
    layers: list[Layer] = field(default_factory=list)
    cuts: dict[str, str] = field(default_factory=dict)  # public cut point -> layer name
    INPUT = "input"

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a layer's output without the batch, (C, H, W) or (C,)."""
        if name == self.INPUT:
            return (3, *self.input_size)
        return self._layer(name).shape

    def conv(
        self,
        x: str,
        name: str,
        filters: int,
        kernel: int | Pair = 1,
        stride: int | Pair = 1,
        padding: int | Pair | Literal["same"] = "same",
    ) -> str:
        """Convolution without bias, batch norm, ReLU. `same` keeps the size at stride 1 (odd kernels)."""
        k, s = _pair(kernel), _pair(stride)
        p = ((k[0] - 1) // 2, (k[1] - 1) // 2) if padding == "same" else _pair(padding)
        shape = (filters, *self._window(x, k, s, p))
        layer = Layer("conv", name, (x,), shape, filters, k, s, p, relu=True)
        return self._add(layer)

    def max_pool(self, x: str, name: str, kernel: int, stride: int, padding: int = 0) -> str:
        """Maximum over a window."""
        return self._pool("max_pool", x, name, kernel, stride, padding, False)

    def avg_pool(
        self,
        x: str,
        name: str,
        kernel: int,
        stride: int,
        padding: int = 0,
        count_include_pad: bool = False,
    ) -> str:
        """Mean over a window; `count_include_pad` says whether padding counts in the divisor."""
        return self._pool("avg_pool", x, name, kernel, stride, padding, count_include_pad)

    def concat(self, xs: list[str], name: str) -> str:
        """Join along the channels."""
        sizes = {self.shape(x)[1:] for x in xs}
        if len(sizes) != 1:
            raise ValueError(f"{name}: cannot join maps of sizes {sorted(sizes)}; they must be equal")
        channels = sum(self.shape(x)[0] for x in xs)
        return self._add(Layer("concat", name, tuple(xs), (channels, *sizes.pop())))

    def global_pool(self, x: str, name: str) -> str:
        """Mean over all positions: (C, H, W) to (C,)."""
        return self._add(Layer("global_pool", name, (x,), (self.shape(x)[0],)))

    def dropout(self, x: str, name: str, rate: float) -> str:
        """Dropout while training; nothing at inference."""
        return self._add(Layer("dropout", name, (x,), self.shape(x), rate=rate))

    def dense(self, x: str, name: str, filters: int) -> str:
        """Matrix product with bias: (C,) to (filters,)."""
        return self._add(Layer("dense", name, (x,), (filters,), filters))

    def cut(self, x: str, name: str) -> str:
        """Name a layer's output as a public cut point."""
        self.cuts[name] = x
        return x

    def _pool(
        self, op: Op, x: str, name: str, kernel: int, stride: int, padding: int, count_include_pad: bool
    ) -> str:
        k, s, p = _pair(kernel), _pair(stride), _pair(padding)
        shape = (self.shape(x)[0], *self._window(x, k, s, p))
        layer = Layer(
            op, name, (x,), shape, kernel=k, stride=s, padding=p, count_include_pad=count_include_pad
        )
        return self._add(layer)

    def _window(self, x: str, kernel: Pair, stride: Pair, padding: Pads) -> Pair:
        _, height, width = self.shape(x)
        return (
            (height + 2 * padding[0] - kernel[0]) // stride[0] + 1,
            (width + 2 * padding[1] - kernel[1]) // stride[1] + 1,
        )

    def _add(self, layer: Layer) -> str:
        if layer.name == self.INPUT or any(other.name == layer.name for other in self.layers):
            raise ValueError(f"the blueprint already has a layer named {layer.name!r}; names are unique")
        self.layers.append(layer)
        return layer.name

    def _layer(self, name: str) -> Layer:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)
