"""A problem in which all is that could tell parts of a batch from the whole of it, and ways to solve it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from finetune.training.data import TrainingData, class_weights
from finetune.training.head import set_scales, train_head
from finetune.training.learner import Learner, LocalLearner, Plan, Starter
from finetune.training.network import Blocks
from finetune.training.rates import Scheduled
from finetune.training.result import Trained
from finetune.training.settings import Settings
from tests.finetune.training.problems import clusters

STEPS = 20
AWKWARD: dict[str, Any] = {
    "optimizer": "adam", "clip_norm": 0.5, "dropout": 0.4, "hidden": (6,), "class_weights": "balanced",
    "label_smoothing": 0.1, "learning_rate": 0.02,
}  # fmt: skip


def unbalanced() -> TrainingData:
    data = clusters()
    y = np.where(np.arange(len(data.y)) % 9 == 0, data.y, 0)
    return TrainingData(data.x, y, data.val_x, data.val_y, data.classes)


def labels() -> TrainingData:
    """Any number of three labels for each image, some of them rare."""
    data = clusters()
    held = [np.stack([y > 0, y == 1, np.arange(len(y)) % 7 == 0], axis=1) for y in (data.y, data.val_y)]
    return TrainingData(data.x, held[0].astype(np.float32), data.val_x, held[1].astype(np.float32), 3)


def plan_of(data: TrainingData, settings: Settings, within: Blocks | None = None) -> Plan:
    weights = class_weights(data.y, data.classes) if data.classes else None
    return Plan(
        settings, data.classes, data.shape, Scheduled(settings, 0.02, STEPS), weights, within, data.several
    )


def walked(learner: Learner, data: TrainingData, size: int) -> dict[str, np.ndarray]:
    """All variables after some steps."""
    if len(data.shape) == 1:
        set_scales(learner, data, (data.rows.mean(0), 1 / data.rows.std(0)))
    learner.share()
    rows, y = data.rows[:: data.views], data.y
    order = np.random.default_rng(0)
    for _ in range(STEPS):
        batch = order.permutation(len(y))[:size]
        learner.step(rows[batch], y[batch])
    return {v.name: learner.session.value(v) for v in learner.network.kept}


def trained(data: TrainingData, work: Path, start: Starter = LocalLearner, **more: Any) -> Trained:
    return train_head(data, Settings(**AWKWARD, epochs=5), work, device="cpu", threads=1, start=start, **more)
