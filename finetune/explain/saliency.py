"""Which pixels a class depends on: the gradient of its logit by the pixels, averaged over noised copies.

Simonyan et al. 2013, "Deep Inside Convolutional Networks" (the gradient, its largest size over the colours); Smilkov
et al. 2017, "SmoothGrad: removing noise by adding noise" (the mean over copies with noise, as the gradient itself
jumps from pixel to pixel).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from finetune.explain.geometry import Floats
from finetune.explain.heatmap import Explainer, subject_of
from finetune.explain.pixels import Pixels
from finetune.explain.slopes import Slopes
from models.errors import InputError
from models.runtime import RuntimeConfig

_NOISE = 0.15  # of the range of the photo's values; SmoothGrad recommends 0.1 to 0.2
_TOGETHER = 8  # copies in one run: enough to fill the cores, few enough for the memory of a large network
_BRIGHTEST = 99.0  # percentile that is shown as 1, as SmoothGrad's authors do: single pixels stand far out


class Saliency(Explainer):
    """Gradients by the pixels of one network, for any number of images.

    `samples`: noised copies of each photo; 1 takes the photo alone, without noise. `seed`: of the noise.

    Raises:
        UnknownModelError: no such name or file.
        ModelError: not a model of images, or one that gives features only.
        CutError: a network whose way of reading images cannot be followed.
        GraphError: an operator that has no gradient.
        InputError: no samples.
    """

    def __init__(
        self,
        spec: str | Path | ModelProto,
        *,
        samples: int = 16,
        seed: int = 0,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        if samples < 1:
            raise InputError(
                f"samples is {samples}: expected 1 (no noise) or more noised copies of the photo."
            )
        subject = subject_of(spec)
        self.card, self.notes = subject.card, subject.notes
        config = RuntimeConfig(device, threads)
        self._pixels = Pixels(subject, config)
        self.cut, self._samples, self._seed = self._pixels.name, samples, seed
        self._slopes = Slopes(
            subject.proto, self.cut, subject.goal, config,
            refusal=f"{self.card.name}: not all of it can be differentiated, so there is no saliency; --method "
            "occlusion needs no gradients.",
        )  # fmt: skip
        self._answer = subject.answer
        self._model = subject.opened([subject.answer], config)

    def _look(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Floats]:
        (answer,) = self._model.run(pixels[None], [self._answer])
        return pixels, answer.reshape(-1)

    def _raw(self, pixels: NDArray[Any], answer: Floats, index: int | None) -> Floats:
        """The largest |slope| over the colours of the mean slope, (H, W)."""
        photo = np.asarray(pixels, np.float32)
        rng = np.random.default_rng(self._seed)
        spread = _NOISE * float(np.ptp(photo)) if self._samples > 1 else 0.0
        asked = np.ones(1) if index is None else np.eye(len(self.card.labels))[index][None]
        total = np.zeros_like(photo)
        for start in range(0, self._samples, _TOGETHER):
            copies = min(_TOGETHER, self._samples - start)
            noised = photo + spread * rng.standard_normal((copies, *photo.shape), np.float32)
            slopes = self._slopes.at(self._pixels.tensor(noised), np.repeat(asked, copies, axis=0))
            total += self._pixels.slopes(slopes).sum(axis=0)
        largest: Floats = np.abs(total / self._samples).max(axis=-1)
        return largest

    def _spread(self, raw: Floats) -> Floats:
        brightest = max(float(np.percentile(raw, _BRIGHTEST)), 1e-30)
        scaled: Floats = raw / brightest
        return scaled
