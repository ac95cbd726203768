"""What a class loses when a part of the photo is hidden: no gradients, so it fits every network that answers.

Zeiler and Fergus 2013, "Visualizing and Understanding Convolutional Networks", section 4.2: a patch of one colour is
moved over the photo. Here the colour is the photo's mean, and the loss is that of the logarithm of the probability,
which still tells places apart where the class is almost certain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from finetune.explain.geometry import Floats
from finetune.explain.heatmap import Explainer, subject_of
from models.errors import InputError
from models.runtime import RuntimeConfig

_TOGETHER = 16  # hidden copies in one run
_LEAST = 1e-12  # a probability whose logarithm is still a number


class Occlusion(Explainer):
    """Parts of photos hidden from one network, for any number of images.

    `patch`: side of what is hidden, as a share of the input's; it moves by half of that.

    Raises:
        UnknownModelError: no such name or file.
        ModelError: not a model of images, or one that gives features only.
        InputError: a patch that is no share.
    """

    def __init__(
        self,
        spec: str | Path | ModelProto,
        *,
        patch: float = 0.2,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        if not 0.02 <= patch <= 0.9:
            raise InputError(f"patch is {patch:g}: expected a share of the photo's side from 0.02 to 0.9.")
        subject = subject_of(spec)
        self.card, self.notes = subject.card, subject.notes
        self.cut, self._patch = "image", patch
        self._answer = subject.answer
        self._model = subject.opened([subject.answer], RuntimeConfig(device, threads))

    def _look(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Floats]:
        (answer,) = self._model.run(pixels[None], [self._answer])
        return pixels, answer.reshape(-1)

    def _raw(self, pixels: NDArray[Any], answer: Floats, index: int | None) -> Floats:
        """How much log(probability), or the value, falls when the patch hides each place: (rows, columns)."""
        photo = np.asarray(pixels, np.uint8)
        tops, lefts = (_starts(side, self._side(side)) for side in photo.shape[:2])
        height, width = (self._side(side) for side in photo.shape[:2])
        colour = np.rint(photo.mean(axis=(0, 1))).astype(np.uint8)
        places = [(top, left) for top in tops for left in lefts]
        after = np.empty(len(places))
        for start in range(0, len(places), _TOGETHER):
            some = places[start : start + _TOGETHER]
            hidden = np.repeat(photo[None], len(some), axis=0)
            for copy, (top, left) in zip(hidden, some, strict=True):
                copy[top : top + height, left : left + width] = colour
            (answers,) = self._model.run(hidden, [self._answer])
            after[start : start + len(some)] = answers.reshape(len(some), -1)[:, index or 0]
        before = float(answer[index or 0])
        if index is not None:
            after, before = np.log(np.maximum(after, _LEAST)), float(np.log(max(before, _LEAST)))
        return np.maximum(before - after, 0.0).reshape(len(tops), len(lefts)).astype(np.float32)

    def _spread(self, raw: Floats) -> Floats:
        """Each pixel gets the mean over the patches that hid it."""
        rows, columns = self.card.preprocessing.size
        height, width = self._side(rows), self._side(columns)
        total, times = np.zeros((rows, columns)), np.zeros((rows, columns))
        for losses, top in zip(raw, _starts(rows, height), strict=True):
            for loss, left in zip(losses, _starts(columns, width), strict=True):
                total[top : top + height, left : left + width] += loss
                times[top : top + height, left : left + width] += 1
        mean = total / times
        return (mean / max(float(mean.max()), 1e-30)).astype(np.float32)

    def _side(self, whole: int) -> int:
        return max(1, round(whole * self._patch))


def _starts(whole: int, side: int) -> list[int]:
    """Where patches of `side` begin so that they overlap by about half and reach both edges."""
    steps = max(1, -(-(whole - side) * 2 // side))
    return [round(i * (whole - side) / steps) for i in range(steps + 1)]
