"""How two versions of a network differ in what they answer and in speed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.model import Model
from models.names import LOGITS, PROBABILITIES
from models.runtime import Array

ROUNDS = 5  # batches that are timed, in turn, so that a busy moment hits both alike


@dataclass(frozen=True)
class VersionComparison:
    """What was measured on some images. Speeds are images a second of the network alone, on one batch."""

    images: int
    agreement: float | None  # share of images with the same best class; None where there are no classes
    cosine: float  # mean over the images, of the features (or logits) of both
    cosine_min: float
    speed_before: float
    speed_after: float


def compare(before: Model, after: Model, images: Iterable[NDArray[np.uint8]]) -> VersionComparison:
    """Run both versions on decoded images, uint8 (H, W, 3), in batches that suit them.

    Compared are the outputs that both have: `logits` for the agreement, the first other than classes for the cosine,
    else the logits too.

    Raises:
        ModelError: no images, or no output in common.
    """
    common = [name for name in before.session.outputs if name in after.session.outputs]
    if not common:
        raise ModelError("the two networks have no output in common, so they cannot be compared.")
    features = next((name for name in common if name not in (LOGITS, PROBABILITIES)), common[0])
    cosines: list[Array] = []
    same: list[Array] = []
    stream, size = iter(images), before.batch_size
    timed: NDArray[np.uint8] | None = None
    while chunk := list(islice(stream, size)):
        batch = np.stack(chunk)  # (N, H, W, 3)
        timed = batch if timed is None else timed
        outputs = list(dict.fromkeys([features, *([LOGITS] if LOGITS in common else [])]))
        ours, theirs = (
            dict(zip(outputs, model.run(batch, outputs), strict=True)) for model in (before, after)
        )
        cosines.append(cosine(ours[features], theirs[features]))
        if LOGITS in common:
            same.append(ours[LOGITS].argmax(axis=1) == theirs[LOGITS].argmax(axis=1))
    if timed is None:
        raise ModelError("no held-out image could be read; expected some dozens. Check the folder.")
    every = np.concatenate(cosines)
    speeds = _speeds([before, after], timed)
    agreement = float(np.concatenate(same).mean()) if same else None
    return VersionComparison(len(every), agreement, float(every.mean()), float(every.min()), *speeds)


def cosine(a: Array, b: Array) -> Array:
    """The cosine of the angle between the rows of two arrays (N, ...), (N,); 1 where both are zero."""
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (a, b))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.where(lengths > 0, (a * b).sum(axis=1) / np.maximum(lengths, 1e-300), 1.0)


def _speeds(models: list[Model], batch: NDArray[np.uint8]) -> list[float]:
    seconds: list[list[float]] = [[] for _ in models]
    for _ in range(ROUNDS + 1):
        for model, times in zip(models, seconds, strict=True):
            began = time.perf_counter()
            model.run(batch)
            times.append(time.perf_counter() - began)
    return [len(batch) / statistics.median(times[1:]) for times in seconds]  # the first round warms up
