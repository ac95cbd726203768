"""Loss, accuracy and R2 of a network on the validation images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finetune.autodiff import Session
from finetune.training.data import TrainingData, class_weights
from finetune.training.network import Network


@dataclass(frozen=True)
class Measured:
    """Of the validation images; see `result.Epoch`."""

    loss: float
    accuracy: float | None = None
    r2: float | None = None


def measure(network: Network, session: Session, data: TrainingData, weighted: bool, size: int) -> Measured:
    """Loss and accuracy, or in a regression loss and R2, computed `size` images at a time.

    `weighted`: the loss counts classes as training does, with the weights of its images.
    """
    x, y = data.val_x, data.val_y
    parts = [
        session.run(network.outputs, {network.x: np.asarray(x[i : i + size])}).astype(np.float64)
        for i in range(0, len(x), size)
    ]
    outputs = np.concatenate(parts)
    if data.classes:
        high = outputs.max(1, keepdims=True)
        logs = np.log(np.exp(outputs - high).sum(1)) + high[:, 0]
        counts = np.array(class_weights(data.y, data.classes))[y] if weighted else None
        loss = float(np.average(logs - outputs[np.arange(len(y)), y], weights=counts))
        return Measured(loss, accuracy=float((outputs.argmax(1) == y).mean()))
    mean, deviation = (session.value(v).astype(np.float64) for v in network.scale)
    targets = (y - mean) / deviation
    squares = np.square(outputs[:, 0] - targets)
    spread = float(np.square(targets - targets.mean()).sum())
    return Measured(float(squares.mean()), r2=1 - float(squares.sum()) / spread if spread else None)
