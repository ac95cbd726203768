"""The pixels of a network as real numbers: the first tensor behind the image that has gradients, and the way back."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto

from finetune.explain.geometry import Floats
from finetune.explain.heatmap import Subject
from models.errors import CutError
from models.graph import element_type, varying
from models.layout import Layout, layouts_of
from models.runtime import RuntimeConfig

_REAL = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_TURNS_REAL = ("Cast", "DequantizeLinear")


class Pixels:
    """The first tensor of a network that depends on the image and holds real numbers.

    `name`: the tensor. Its values are those of the pixels, perhaps scaled and with the channels in another order;
    both are measured, not guessed.

    Raises:
        CutError: none is known to hold the image and nothing else.
    """

    def __init__(self, subject: Subject, config: RuntimeConfig) -> None:
        self.name = _first_real(subject.proto)
        layout = layouts_of(subject.proto).places.get(self.name)
        if layout is None or layout.grid is None:
            raise CutError(f"{self.name}: the network reads its image in a way that cannot be followed.")
        self.layout: Layout = layout
        model = subject.opened([self.name], config)
        rows, columns = layout.grid
        # What each colour alone does to each channel tells their order, offset and scale.
        colours = np.zeros((4, rows, columns, 3), np.uint8)
        for colour in range(3):
            colours[colour + 1, ..., colour] = 255
        values = np.stack([self.planes(model.run(one[None], [self.name])[0])[0] for one in colours])
        middle = values[:, :, rows // 2, columns // 2].astype(np.float64)  # (4, channels)
        slopes = (middle[1:] - middle[0]) / 255.0  # (colours, channels)
        self._channel = np.abs(slopes).argmax(axis=1)  # of each colour
        self._scale = slopes[np.arange(3), self._channel]
        self._offset = middle[0][self._channel]
        mixed = np.abs(slopes).sum() - np.abs(self._scale).sum()
        if sorted(self._channel) != [0, 1, 2] or not self._scale.all() or mixed > 1e-6:
            raise CutError(f"{self.name}: mixes the colours of the image, so there is no way back to pixels.")

    def planes(self, tensor: Floats) -> Floats:
        """Values of the tensor as (N, channels, H, W)."""
        return self.layout.as_maps(tensor)

    def tensor(self, pixels: Floats) -> Floats:
        """Pixels (N, H, W, RGB), 0 to 255, as the network holds them."""
        planes = np.empty(np.moveaxis(pixels, -1, 1).shape, np.float32)
        for colour, channel in enumerate(self._channel):
            planes[:, channel] = pixels[..., colour] * self._scale[colour] + self._offset[colour]
        return np.ascontiguousarray(np.moveaxis(planes, 1, self.layout.channels))

    def slopes(self, slopes: Floats) -> Floats:
        """Gradients at the tensor as those of pixels, (N, H, W, RGB)."""
        planes = self.planes(slopes)[:, self._channel]
        scaled: Floats = np.moveaxis(planes, 1, -1) * self._scale.astype(np.float32)
        return scaled


def _first_real(proto: ModelProto) -> str:
    depends = varying(proto.graph)
    for value in proto.graph.input:
        if value.name in depends and element_type(value) in _REAL:
            return str(value.name)
    for node in proto.graph.node:
        if node.op_type in _TURNS_REAL and node.output[0] in depends:
            return str(node.output[0])
    raise CutError("the network never makes real numbers of its image, so nothing in it has gradients.")
