"""What a model gives for each image of a batch."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from numpy.typing import NDArray

from models.model import Answers, Model


@dataclasses.dataclass(frozen=True)
class ImageResult:
    """What a model gives for one image: probabilities of classes, with a reject score where it has one; or a value."""

    probabilities: NDArray[np.float32] | None = None  # (classes,)
    reject_score: float | None = None
    rejected: bool | None = None  # whether it is none of the classes; None where the model cannot tell
    value: float | None = None
    projection: NDArray[np.float32] | None = (
        None  # (R,), where it lies among the images that were learned from
    )


def image_results(model: Model, batch: NDArray[np.uint8]) -> list[ImageResult]:
    """The results of decoded images, uint8 (N, H, W, 3), in their order.

    Raises:
        ModelError: the model gives features.
        NumericsError: the model answers with NaN or infinity.
    """
    return results_of(model.answers(batch))


def results_of(answers: Answers) -> list[ImageResult]:
    """A result for each image that a model has answered for."""
    columns = (
        answers.probabilities,
        None if answers.reject_scores is None else answers.reject_scores.tolist(),
        None if answers.rejected is None else answers.rejected.tolist(),
        None if answers.values is None else answers.values.tolist(),
        answers.projections,
    )
    return list(map(ImageResult, *(itertools.repeat(None) if one is None else one for one in columns)))
