from __future__ import annotations

import math

import numpy as np
import pytest

from finetune.report.findings import Interval
from finetune.report.regression import compare_errors, coverage, measure_regression

TRUTH = np.array([1.0, 2, 3, 4])


def test_errors_by_hand() -> None:
    found = measure_regression(TRUTH, np.array([1.0, 3, 3, 2]))
    assert (found.mse, found.mae, found.bias, found.worst) == (1.25, 0.75, -0.25, 2)
    assert found.rmse == pytest.approx(math.sqrt(1.25))
    assert found.r2 == pytest.approx(1 - 5 / 5)  # squares of errors 5, of differences from the mean 5
    assert found.baseline_mae == 1
    assert found.mae_interval[0] == 0


def test_equal_targets_have_no_r2() -> None:
    assert math.isnan(measure_regression(np.ones(3), np.ones(3)).r2)
    assert math.isnan(measure_regression(np.ones(1), np.ones(1)).mae_interval[1])


@pytest.mark.parametrize(
    ("half", "words"), [(0.9, "as they should"), (0.5, "too narrow"), (2.0, "wider than they need")]
)
def test_coverage_in_words(half: float, words: str) -> None:
    off = np.linspace(0, 1, 1000)
    interval = Interval(0.9, off - half, off + half)
    found = coverage(np.zeros(1000), interval)
    assert found.inside.count == (off <= half).sum()
    assert found.width == pytest.approx(2 * half)
    assert words in found.words()


def test_comparison_is_paired() -> None:
    random = np.random.default_rng(0)
    truth, noise = random.normal(size=500), random.normal(size=500)
    better = compare_errors(truth, truth + 0.9 * noise, truth + noise)
    assert better.interval[0] > 0
    assert "closer" in better.words()
    assert "further off" in compare_errors(truth, truth + noise, truth + 0.9 * noise).words()
    assert "neither" in compare_errors(truth, truth + noise, truth + random.permutation(noise)).words()
