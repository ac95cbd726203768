from __future__ import annotations

import numpy as np

from finetune.classifiers.trees import round_down


def test_float32_numbers_fall_on_the_same_side_of_a_rounded_threshold() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=20_000).astype(np.float32)
    thresholds = numbers.astype(np.float64) + rng.choice(
        [-1e-9, 0.0, 1e-9], 20_000
    )  # as near as half-ways come
    assert ((numbers <= thresholds) == (numbers <= round_down(thresholds))).all()
    assert (numbers <= thresholds).sum() != (numbers <= thresholds.astype(np.float32)).sum()
