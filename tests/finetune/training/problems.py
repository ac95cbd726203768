"""Small problems with known answers, and a process that can be killed while it solves them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from finetune.training.data import TrainingData
from tests.finetune.autodiff.importing.networks import network, node, reals


def clusters(
    count: int = 90, views: int = 2, size: int = 8, classes: int = 3, seed: int = 0, spread: float = 1.0
) -> TrainingData:
    """Features around one centre for each class, far from 0 and of uneven spread, so that they need standardising."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 2, (classes, size))
    uneven = np.geomspace(0.01, 100, size)

    def draw(number: int, views: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        y = rng.integers(0, classes, number)
        x = (centres[y][:, None] + rng.normal(0, spread, (number, views, size)) + 5) * uneven
        return x.astype(np.float32), y

    x, y = draw(count, views)
    val_x, val_y = draw(count // 2, 1)
    return TrainingData(x, y, val_x[:, 0], val_y, classes)


def plane(count: int = 90, size: int = 5, noise: float = 0.1, seed: int = 0) -> TrainingData:
    """Targets that are linear in the features, in the thousands."""
    rng = np.random.default_rng(seed)
    x = rng.normal(3, 1, (count * 3 // 2, size)).astype(np.float32)
    y = (5000 + 100 * (x @ rng.normal(size=size) + rng.normal(0, noise, len(x)))).astype(np.float32)
    return TrainingData(x[:count, None], y[:count], x[count:], y[count:], 0)


def blocks() -> ModelProto:
    """Two convolutions and a batch norm behind the cut `low`, and the pooled map `pool`, (N, 6)."""
    return network(
        [
            node("Conv", ["x", "stem.weight"], ["c0"], pads=[1, 1, 1, 1]),
            node("Relu", ["c0"], ["low"]),
            node("Conv", ["low", "block_1.weight", "block_1.bias"], ["c1"], pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c1", "bn.scale", "bn.shift", "bn.mean", "bn.variance"], ["n1"]),
            node("Relu", ["n1"], ["middle"]),
            node("Conv", ["middle", "block_2.weight", "block_2.bias"], ["c2"], pads=[1, 1, 1, 1]),
            node("Relu", ["c2"], ["high"]),
            node("GlobalAveragePool", ["high"], ["map"]),
            node("Flatten", ["map"], ["pool"]),
            node("MatMul", ["pool", "old.weight"], ["y"]),
        ],
        {
            "stem.weight": reals(4, 3, 3, 3),
            "block_1.weight": reals(5, 4, 3, 3),
            "block_1.bias": reals(5),
            "bn.scale": reals(5) + 2,
            "bn.shift": reals(5),
            "bn.mean": reals(5),
            "bn.variance": reals(5) ** 2 + 0.5,
            "block_2.weight": reals(6, 5, 3, 3),
            "block_2.bias": reals(6),
            "old.weight": reals(6, 4),
        },
    )


def maps(count: int = 60, views: int = 2, size: int = 8) -> TrainingData:
    """Maps (4, size, size) in which a vertical or a horizontal edge stands: averages of channels do not tell which."""
    rng = np.random.default_rng(0)
    total = count * 3 // 2
    y = rng.integers(0, 2, total)
    x = rng.normal(0, 0.3, (total, views, 4, size, size))
    x[y == 0, :, 0, : size // 2] += 1
    x[y == 1, :, 0, :, : size // 2] += 1
    x = np.abs(x).astype(np.float32)
    return TrainingData(x[:count], y[:count], x[count:, 0], y[count:], 2)
