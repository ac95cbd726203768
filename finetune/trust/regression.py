"""How far a regression is from the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from feature_extraction.items import ImageItem
from finetune.trust.asking import Asked, Asking
from finetune.trust.measures import r2
from models.model import Model
from models.runtime import Array


@dataclass(frozen=True)
class RegressionEvaluation(Asked):
    """Errors over the images that could be read, in the unit of the target."""

    mse: float  # mean squared error
    mae: float  # mean absolute error
    r2: float | None  # share of the variance that is explained; None where all targets are equal
    coverage: float | None  # share of targets within the model's interval; None where it has none


def evaluate_regression(
    model: Model,
    items: Sequence[tuple[ImageItem, float]],
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RegressionEvaluation:
    """Compare the model's answers with the numbers that are known of images.

    `threads` decode images while others run. `progress` hears (images done, images in all).

    Raises:
        InputError: not one image that can be read.
        ModelError: the model is no regression.
        NumericsError: the model answers with NaN.
    """
    answers: list[Array] = []
    targets: list[float] = []
    asking = Asking(model, items, "images with a number", threads, progress)
    for batch in asking.batches():
        answers.append(model.values(batch.pixels))
        targets += [target for _, target in batch.good]
    truth = np.array(targets, np.float64)  # (N,)
    values = np.concatenate(answers).astype(np.float64)
    error, explained = values - truth, r2(truth, values)
    width = model.card.target.half_width if model.card.target is not None else None
    return RegressionEvaluation(
        **vars(asking.account()),
        mse=float((error**2).mean()),
        mae=float(np.abs(error).mean()),
        r2=explained if np.isfinite(explained) else None,
        coverage=None if width is None else float((np.abs(error) <= width).mean()),
    )
