"""How far a classifier's percentages are from the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finetune.report.findings import Floats, Ints
from finetune.trust.calibration import ChanceError, Reliability, calibration_error, chance_error, reliability


@dataclass(frozen=True)
class Calibration:
    """What the probabilities of an answer are worth."""

    error: float  # expected calibration error, 0 to 1
    log_loss: float  # mean of -ln(probability of the true class), in nats
    confidence: float  # mean probability of the answers
    curve: Reliability
    chance: ChanceError  # what `error` would be of so many images if all probabilities were true

    @property
    def beyond_chance(self) -> bool:
        """Whether the error is larger than that of true probabilities is in 95 of 100 samples of so many images."""
        return self.error > self.chance.most


def calibrate(probabilities: Floats, truth: Ints) -> Calibration | None:
    """Measure probabilities (N, C) against class indices (N,); rows with NaN are left out. None: no row is left."""
    whole = np.isfinite(probabilities).all(axis=1)
    values, labels = probabilities[whole], truth[whole]
    if not len(labels):
        return None
    of_truth = values[np.arange(len(labels)), labels].astype(np.float64)
    curve = reliability(values, labels)
    return Calibration(
        calibration_error(values, labels),
        float(-np.log(np.maximum(of_truth, np.finfo(np.float32).tiny)).mean()),
        float(values.max(axis=1).mean()),
        curve,
        chance_error(curve),
    )
