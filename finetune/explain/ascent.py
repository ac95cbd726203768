"""What a unit of a network wants to see: gradient ascent on the pixels, from noise or from a photo.

Erhan et al. 2009, "Visualizing Higher-Layer Features of a Deep Network" (the ascent); Mordvintsev et al. 2015,
"Inceptionism" (from a photo, and steps of equal size at every scale, so that coarse shapes grow beside fine grain);
Olah et al. 2017, "Feature Visualization" (moved about between steps, so that no grid of the strides appears).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from PIL import Image

from finetune.explain.geometry import Floats
from finetune.explain.heatmap import subject_of
from finetune.explain.pixels import Pixels
from finetune.explain.slopes import Slopes
from models.card import ModelCard
from models.errors import CutError, InputError
from models.layout import layouts_of
from models.preprocessing import ImageSource
from models.runtime import RuntimeConfig
from models.truncation import cut_model

STEPS = 96  # where nobody says how many
_FARTHEST = 8  # pixels by which the image is moved about between steps
_NOISE = 12.0  # deviation of the grey noise that an ascent begins with, of 0..255
_STEP = 3.0  # by how much of 0..255 a step changes the image, on average
_SMALLEST = 8  # side of the coarsest scale, in pixels


@dataclass(frozen=True)
class Wanted:
    """What a unit wants to see. `before`, `after`: its mean activation on the start and on the image."""

    image: Image.Image
    unit: str
    before: float
    after: float


class Ascent:
    """Gradient ascent for one unit of a network: a class, or one channel of a cut point.

    `unit`: the id or name of a class, or CUT:CHANNEL with the channel counted from 0.

    Raises:
        UnknownModelError: no such name or file.
        ModelError: not a model of images.
        InputError: no such class or channel.
        CutError: no such cut point, or a network whose way of reading images cannot be followed.
        GraphError: an operator that has no gradient.
    """

    def __init__(
        self,
        spec: str | Path | ModelProto,
        unit: str,
        *,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        subject = subject_of(spec)
        self.card: ModelCard = subject.card
        self.notes, self.unit = subject.notes, unit
        config = RuntimeConfig(device, threads)
        self._pixels = Pixels(subject, config)
        tensor, self._channel = self._place(unit, subject.goal)
        layouts = layouts_of(subject.proto)
        layout = layouts.places.get(tensor)
        self._axis = layout.channels if layout else -1
        cut_model(subject.proto, [tensor])  # says what cut points there are instead
        self._slopes = Slopes(
            subject.proto, self._pixels.name, tensor, config,
            refusal=f"{self.card.name}: what leads to {tensor} cannot be differentiated, so nothing can be climbed.",
        )  # fmt: skip
        shape = layouts.shapes.get(tensor)
        if shape is None or (layout is None and len(shape) != 1):
            raise CutError(
                f"{tensor}: which of its axes holds channels cannot be followed. Choose another cut point."
            )
        sizes = (1, *shape)
        if self._channel >= sizes[self._axis]:
            raise InputError(f"{unit}: {tensor} has the channels 0 to {sizes[self._axis] - 1}.")
        self._asked = np.zeros(sizes, np.float32)
        np.moveaxis(self._asked, self._axis, 0)[self._channel] = sizes[self._axis] / self._asked.size

    def climb(self, start: ImageSource | None = None, *, steps: int = STEPS, seed: int = 0) -> Wanted:
        """The image after `steps` steps from grey noise, or from the photo `start`; the same for the same `seed`.

        Raises:
            ImageError: `start` cannot be read.
            InputError: a number of steps below 1, or a unit that is silent on the start.
        """
        if steps < 1:
            raise InputError(f"steps is {steps}: expected 1 or more.")
        rng = np.random.default_rng(seed)
        rows, columns = self.card.preprocessing.size
        if start is None:
            pixels = self._noise(rng, (rows, columns))
        else:
            pixels = self.card.preprocessing.load(start).astype(np.float32)
            if not self._climbable(pixels):
                raise InputError(
                    f"{self.unit}: nothing on this photo excites it. Start from another, or from noise."
                )
        before = self._activation(pixels)
        for step in range(steps):
            moved = tuple(int(by) for by in rng.integers(-_FARTHEST, _FARTHEST + 1, 2))
            shifted = self._pixels.tensor(np.roll(pixels, moved, (0, 1))[None])
            slopes = self._pixels.slopes(self._slopes.at(shifted, self._asked))[0]
            change = np.roll(_at_every_scale(slopes), (-moved[0], -moved[1]), (0, 1))
            size = _STEP * (1 - 0.8 * step / steps)  # the last steps settle
            pixels = np.clip(pixels + size * change, 0.0, 255.0).astype(np.float32)
        image = Image.fromarray(np.rint(pixels).astype(np.uint8))
        return Wanted(image, self.unit, before, self._activation(pixels))

    def _noise(self, rng: np.random.Generator, size: tuple[int, int]) -> Floats:
        """Grey noise on which the unit has slopes: a rectified one may be silent on the first."""
        for strength in (_NOISE, _NOISE, 2 * _NOISE, 4 * _NOISE):
            noise = rng.standard_normal((*size, 3), np.float32)
            pixels = np.clip(128.0 + strength * noise, 0.0, 255.0).astype(np.float32)
            if self._climbable(pixels):
                break
        else:
            raise InputError(
                f"{self.unit}: silent on noise, so there is no slope to climb. Start from a photo that excites it, or "
                "choose another channel."
            )
        return np.asarray(pixels, np.float32)

    def _climbable(self, pixels: Floats) -> bool:
        return bool(self._slopes.at(self._pixels.tensor(pixels[None]), self._asked).any())

    def _activation(self, pixels: Floats) -> float:
        return float((self._slopes.end(self._pixels.tensor(pixels[None])) * self._asked).sum())

    def _place(self, unit: str, goal: str) -> tuple[str, int]:
        """The tensor and the channel of a unit."""
        index = self.card.label(unit)
        if index is not None:
            return goal, index
        cut, colon, channel = unit.rpartition(":")
        if not colon or not channel.isdecimal():
            names = ", ".join(label.name for label in self.card.labels[:3])
            raise InputError(
                f"unit is {unit!r}: expected a class of {self.card.name} (such as {names}), or CUT:CHANNEL such as "
                f"{self.card.cuts[-1].name if self.card.cuts else 'pool'}:0. `graft models cuts` lists the cut points."
            )
        return cut, int(channel)


def _at_every_scale(slopes: NDArray[np.float32]) -> Floats:
    """The slopes (H, W, 3) cut into octaves, each brought to the same size, and added up; their deviation is 1."""
    total = np.zeros_like(slopes)
    rest = slopes
    while min(rest.shape[:2]) >= 2 * _SMALLEST:
        coarse = _resized(rest, (rest.shape[0] // 2, rest.shape[1] // 2))
        fine = rest - _resized(coarse, rest.shape[:2])
        total += _unit(_resized(fine, slopes.shape[:2]))
        rest = coarse
    total += _unit(_resized(rest, slopes.shape[:2]))
    return _unit(total)


def _unit(values: Floats) -> Floats:
    return values / max(float(values.std()), 1e-30)


def _resized(values: Floats, size: tuple[int, ...]) -> Floats:
    """(H, W, 3) at another size (H, W), smoothly."""
    if values.shape[:2] == size:
        return values
    shape = (size[1], size[0])
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(values[..., i])).resize(shape, Image.Resampling.BILINEAR)
        )
        for i in range(values.shape[2])
    ]
    return np.stack(planes, axis=-1)
