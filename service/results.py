"""What a model gives for each image of a batch."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from models.model import Model


@dataclasses.dataclass(frozen=True)
class ImageResult:
    """What a model gives for one image: probabilities of classes, with a reject score where it has one; or a value."""

    probabilities: NDArray[np.float32] | None = None  # (classes,)
    reject_score: float | None = None
    rejected: bool | None = None  # whether it is none of the classes; None where the model cannot tell
    value: float | None = None


def image_results(model: Model, batch: NDArray[np.uint8]) -> list[ImageResult]:
    """The results of decoded images, uint8 (N, H, W, 3), in their order.

    Raises:
        ModelError: the model gives features.
        NumericsError: the model answers with NaN or infinity.
    """
    if model.is_regression:
        return [ImageResult(value=value) for value in model.values(batch).tolist()]
    outputs = model.classifier_outputs(batch)
    if outputs.reject_scores is None or outputs.rejected is None:
        return [ImageResult(row) for row in outputs.probabilities]
    scores, rejected = outputs.reject_scores.tolist(), outputs.rejected.tolist()
    return list(map(ImageResult, outputs.probabilities, scores, rejected))
