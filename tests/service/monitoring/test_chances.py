"""Tails, intervals and evidence against those of scipy, and against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from service.monitoring.chances import beta_share, drawn_chance, exact_interval, f_tail, log_evidence

stats = pytest.importorskip("scipy.stats", reason="scipy is what is compared with")


@pytest.mark.parametrize("a", [0.5, 1, 3, 40, 700])
@pytest.mark.parametrize("b", [0.5, 2, 17, 5000])
def test_incomplete_beta(a: float, b: float) -> None:
    mean, deviation = a / (a + b), math.sqrt(a * b / (a + b) ** 2 / (a + b + 1))
    for x in {0.0, 1.0, *(min(max(mean + k * deviation, 0), 1) for k in (-8, -3, -1, 0, 1, 3, 8))}:
        assert beta_share(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("degrees", [(1, 5), (24, 300), (24, 40), (3, 2000)])
def test_tail_of_f_is_right_far_out(degrees: tuple[int, int]) -> None:
    for f in (0.0, 0.3, 1.0, 2.5, 10.0, 40.0):
        assert f_tail(f, *degrees) == pytest.approx(stats.f.sf(f, *degrees), rel=1e-8)


@pytest.mark.parametrize(
    ("successes", "trials"), [(0, 1), (0, 30), (1, 30), (15, 30), (30, 30), (4, 10_000), (900, 1000)]
)
def test_exact_interval(successes: int, trials: int) -> None:
    theirs = stats.binomtest(successes, trials).proportion_ci(0.95, "exact")
    assert exact_interval(successes, trials) == pytest.approx((theirs.low, theirs.high), rel=1e-8, abs=1e-12)
    assert exact_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("drawn", "draws", "marked", "total"), [
    (0, 256, 3, 600), (3, 256, 3, 600), (40, 256, 60, 628), (90, 256, 100, 628), (256, 256, 260, 628), (0, 10, 0, 20),
])  # fmt: skip
def test_drawing_marked_balls(drawn: int, draws: int, marked: int, total: int) -> None:
    known = stats.hypergeom(total, marked, draws)
    expected = min(1.0, 2 * min(known.cdf(drawn), known.sf(drawn - 1)))
    assert drawn_chance(drawn, draws, marked, total) == pytest.approx(expected, rel=1e-7)


def test_evidence_is_the_average_likelihood() -> None:
    shares = np.linspace(0.1, 1, 200_001)
    likelihood = np.exp(7 * np.log(shares / 0.1) + 23 * np.log(np.maximum(1 - shares, 1e-300) / 0.9))
    assert log_evidence(7, 30, 0.1, above=True) == pytest.approx(math.log(likelihood.mean()), abs=1e-3)
    shares = np.linspace(1e-12, 0.1, 200_001)
    likelihood = np.exp(7 * np.log(shares / 0.1) + 23 * np.log((1 - shares) / 0.9))
    assert log_evidence(7, 30, 0.1, above=False) == pytest.approx(math.log(likelihood.mean()), abs=1e-3)


def test_looking_at_every_image_deceives_no_more_often_than_promised() -> None:
    """With the share at the very edge, 2,000 runs of 400 images each, looked at after each image."""
    random = np.random.default_rng(0)
    limit = math.log(1 / 0.05)
    # By the number of successes after each image; a table serves all runs.
    table = {
        (k, n): log_evidence(k, n, 0.1, above=True)
        for n in range(1, 401)
        for k in range(n // 20, min(n, n // 3 + 11) + 1)
    }
    deceived = 0
    for run in (random.random((2000, 400)) < 0.1).cumsum(axis=1):
        deceived += any(table.get((int(k), n), -1.0) >= limit for n, k in enumerate(run, 1))
    assert 0 < deceived / 2000 < 0.05


def test_a_share_above_is_noticed() -> None:
    assert log_evidence(40, 200, 0.1, above=True) > math.log(20)
    assert log_evidence(40, 200, 0.1, above=False) < 0
    assert log_evidence(0, 100, 0.1, above=False) > math.log(20)
