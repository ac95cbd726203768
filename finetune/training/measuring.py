"""Loss, accuracy and R2 of a network on the validation images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from finetune.training.data import Array, TrainingData, class_weights
from finetune.training.learner import Learner
from finetune.trust.measures import r2
from finetune.trust.multilabel import label_entropy

_SHARPEST, _SOFTEST = 1e-2, 1e2  # factors of logits among which the best is sought
_HALVINGS = 24
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Measured:
    """Of the validation images; see `result.Epoch`. Of labels, an image is right where all of them are."""

    loss: float
    refined: float
    accuracy: float | None = None
    r2: float | None = None


def measure(learner: Learner, data: TrainingData, weighted: bool, size: int) -> Measured:
    """Loss and accuracy, or in a regression loss and R2, computed `size` images at a time.

    `weighted`: the loss counts classes as training does, with the weights of its images.
    """
    y = data.val_y
    outputs = learner.infer("outputs", data.val_x, size).astype(np.float64)
    if data.several:
        columns = np.array(class_weights(data.y, data.classes)) if weighted else None
        return Measured(
            label_entropy(outputs, y, columns),
            refined(outputs, y, columns, label_entropy),
            accuracy=float(((outputs > 0) == (y > 0)).all(axis=1).mean()),
        )
    if data.classes:
        counts = np.array(class_weights(data.y, data.classes))[y] if weighted else None
        return Measured(
            cross_entropy(outputs, y, counts),
            refined(outputs, y, counts),
            accuracy=float((outputs.argmax(1) == y).mean()),
        )
    mean, deviation = (learner.session.value(v).astype(np.float64) for v in learner.network.scale)
    targets = (y - mean) / deviation
    loss = float(np.square(outputs[:, 0] - targets).mean())
    explained = r2(targets, outputs[:, 0])
    return Measured(loss, loss, r2=explained if np.isfinite(explained) else None)


def cross_entropy(logits: Array, y: Array, counts: Array | None = None) -> float:
    """Mean cross-entropy in nats of float64 logits (N, classes), weighted with `counts` (N,)."""
    high = logits.max(1, keepdims=True)
    logs = np.log(np.exp(logits - high).sum(1)) + high[:, 0]
    return float(np.average(logs - logits[np.arange(len(y)), y], weights=counts))


def refined(
    logits: Array,
    y: Array,
    counts: Array | None = None,
    entropy: Callable[[Array, Array, Array | None], float] = cross_entropy,
) -> float:
    """Cross-entropy at the temperature at which it is lowest: what calibration will leave of the loss.

    Networks go on to tell classes better apart while they grow too sure of themselves, which temperature scaling undoes
    afterwards; the plain loss would stop them too early (Guo et al., 2017, section 3). Golden-section search, since the
    loss is convex in 1 / temperature.
    """
    low, high = np.log(_SHARPEST), np.log(_SOFTEST)

    def at(log_factor: float) -> float:
        return entropy(logits * np.exp(log_factor), y, counts)

    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = at(left), at(right)
    for _ in range(_HALVINGS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = at(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = at(right)
    return min(at_left, at_right)
