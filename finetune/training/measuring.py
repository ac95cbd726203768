"""Loss, accuracy and R2 of a network on the validation images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.autodiff import Session
from finetune.training.network import Network

Array = NDArray[Any]


@dataclass(frozen=True)
class Measured:
    """Of the validation images; see `result.Epoch`."""

    loss: float
    accuracy: float | None = None
    r2: float | None = None


def measure(network: Network, session: Session, x: Array, y: Array, classes: int, size: int) -> Measured:
    """Loss and accuracy, or loss and R2 where `classes` is 0, computed `size` images at a time."""
    parts = [
        session.run(network.outputs, {network.x: np.asarray(x[i : i + size])}).astype(np.float64)
        for i in range(0, len(x), size)
    ]
    outputs = np.concatenate(parts)
    if classes:
        high = outputs.max(1, keepdims=True)
        logs = np.log(np.exp(outputs - high).sum(1)) + high[:, 0]
        loss = float((logs - outputs[np.arange(len(y)), y]).mean())
        return Measured(loss, accuracy=float((outputs.argmax(1) == y).mean()))
    mean, deviation = (session.value(v).astype(np.float64) for v in network.scale)
    targets = (y - mean) / deviation
    squares = np.square(outputs[:, 0] - targets)
    spread = float(np.square(targets - targets.mean()).sum())
    return Measured(float(squares.mean()), r2=1 - float(squares.sum()) / spread if spread else None)
