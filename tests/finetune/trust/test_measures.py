from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
from sklearn.metrics import r2_score

from finetune.trust.measures import Share, accuracy, auroc, mean_interval, r2, softmax, wilson_interval


def test_accuracy_counts() -> None:
    assert accuracy(np.array([0, 1, 1]), np.array([0, 1, 0])) == Share(2, 3)


def test_share_of_nothing_is_unknown() -> None:
    assert math.isnan(Share(0, 0).value)
    assert Share(0, 0).interval == (0.0, 1.0)


def test_interval_is_wilsons() -> None:
    # Brown, Cai and DasGupta 2001 give the Wilson interval's centre (X + z²/2) / (n + z²): 7.9207 / 13.8415 here.
    low, high = Share(6, 10).interval
    assert (low + high) / 2 == pytest.approx(0.57225, abs=1e-4)
    assert low < 0.6 < high


def test_auroc_counts_pairs() -> None:
    # pairs (known, unknown): 1 < 2, 1 < 3, 2 = 2 counts half, 2 < 3
    assert auroc(np.array([1, 2]), np.array([2, 3])) == pytest.approx(3.5 / 4)
    assert math.isnan(auroc(np.array([1]), np.array([])))


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # scipy 1.17.1, stats.binomtest(successes, trials).proportion_ci(method="wilson")
        (5, 10, 0.2365931, 0.7634069),
        (0, 10, 0.0, 0.2775328),
        (4696, 10000, 0.4598319, 0.4793915),
    ],
)
def test_wilson_interval_agrees_with_scipy(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-6)


def test_r2_agrees_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(3, 2, 50)
    values = (truth + random.normal(size=50)).astype(np.float32)
    assert r2(truth, values) == pytest.approx(r2_score(truth, values), rel=1e-12)
    assert math.isnan(r2(np.full(3, 0.1), np.ones(3)))  # although their mean is not 0.1 to the last bit


def test_softmax_agrees_with_scipy_and_does_not_overflow() -> None:
    logits = np.array([[1e4, 0, -1e4], [0.1, 0.2, 0.3]], np.float32)
    np.testing.assert_allclose(softmax(logits, 2.0), scipy.special.softmax(logits / 2.0, axis=1), rtol=1e-6)


def test_interval_of_a_mean_is_the_normal_one() -> None:
    low, high = mean_interval(np.array([1.0, 2, 3, 4]))
    assert ((low + high) / 2, (high - low) / 2) == pytest.approx((2.5, 1.96 * math.sqrt(5 / 3) / 2), rel=1e-4)
    assert all(map(math.isnan, mean_interval(np.ones(1))))
