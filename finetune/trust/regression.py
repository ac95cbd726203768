"""How far a regression is from the truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from feature_extraction.batches import decoded_batches
from feature_extraction.items import ImageItem
from finetune.trust.measures import r2
from models.errors import InputError
from models.model import Model
from models.runtime import Array


@dataclass(frozen=True)
class RegressionEvaluation:
    """Errors over the images that could be read, in the unit of the target."""

    images: int
    failed: tuple[tuple[str, str], ...]  # (image, reason)
    mse: float  # mean squared error
    mae: float  # mean absolute error
    r2: float | None  # share of the variance that is explained; None where all targets are equal
    coverage: float | None  # share of targets within the model's interval; None where it has none
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Images answered a second, decoding included."""
        return self.images / self.seconds


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
    failed: list[tuple[str, str]] = []
    done = 0
    started = time.perf_counter()
    for batch in decoded_batches(items, model.card.preprocessing, model.batch_size, threads):
        failed += [(batch.items[i][0].id, str(error)) for i, error in batch.failures.items()]
        if len(batch.pixels):
            answers.append(model.values(batch.pixels))
            targets += [target for _, target in batch.good]
        done += len(batch.items)
        if progress:
            progress(done, len(items))
    if not targets:
        reason = failed[0][1] if failed else "there was none"
        raise InputError(
            f"no image could be read out of {done}; expected images with a number. The first: {reason}"
        )
    truth = np.array(targets, np.float64)  # (N,)
    values = np.concatenate(answers).astype(np.float64)
    error, explained = values - truth, r2(truth, values)
    width = model.card.target.half_width if model.card.target is not None else None
    return RegressionEvaluation(
        len(truth),
        tuple(failed),
        float((error**2).mean()),
        float(np.abs(error).mean()),
        explained if np.isfinite(explained) else None,
        None if width is None else float((np.abs(error) <= width).mean()),
        time.perf_counter() - started,
    )
