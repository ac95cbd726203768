"""Temperatures, calibration errors and reliability curves whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from finetune.trust.calibration import (
    TEMPERATURES,
    calibration_error,
    chance_error,
    checked_temperature,
    fit_temperature,
    reliability,
    temperature_helps,
)
from finetune.trust.measures import softmax
from models.errors import InputError, NumericsError


def drawn(n: int, classes: int = 4, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits, and classes drawn from just the probabilities that they say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, classes))
    sums = softmax(logits).cumsum(axis=1)
    return logits, (rng.random((n, 1)) > sums[:, :-1]).sum(axis=1)


def likelihood(logits: NDArray[np.float64], y: NDArray[np.int64], temperature: float) -> float:
    return float(-np.log(softmax(logits, temperature)[np.arange(len(y)), y]).mean())


class TestCheckedTemperature:
    def test_one_that_many_images_agree_on_is_taken(self) -> None:
        logits, y = drawn(500)
        assert temperature_helps(3 * logits, y)
        assert checked_temperature(3 * logits, y) == fit_temperature(3 * logits, y)

    def test_one_that_makes_other_images_worse_is_not(self) -> None:
        """Half of so few sets of images ask for a temperature that their own rest contradicts."""
        taken, left = [], []
        for seed in range(16):
            logits, y = drawn(11, seed=seed)
            others, truth = drawn(500, seed=seed + 1000)
            loss = likelihood(others, truth, fit_temperature(logits, y)) - likelihood(others, truth, 1.0)
            (taken if temperature_helps(logits, y) else left).append(loss)
            if not temperature_helps(logits, y) and (logits.argmax(axis=1) != y).any():
                assert checked_temperature(logits, y) == 1.0
        assert len(left) > 6
        assert np.mean(left) > 0

    def test_answers_become_surer_only_as_far_as_they_are_right(self) -> None:
        """Five classes that look alike, of a hundred such: sharper is likelier, for it leaves out the other 495."""
        rng = np.random.default_rng(0)
        y = rng.integers(0, 500, 4_000)
        logits = rng.normal(0, 1, (4_000, 500))
        logits += 4 * (np.arange(500) // 5 == (y // 5)[:, None])
        accuracy = float((logits.argmax(axis=1) == y).mean())
        sharpest, temperature = fit_temperature(logits, y), checked_temperature(logits, y)
        assert temperature_helps(logits, y)
        assert softmax(logits, sharpest).max(axis=1).mean() > accuracy + 0.1
        assert sharpest < temperature < 1.0
        assert softmax(logits, temperature).max(axis=1).mean() < accuracy + 0.02
        assert likelihood(logits, y, temperature) < likelihood(logits, y, 1.0)

    def test_one_that_chance_explains_is_not(self) -> None:
        """Where all probabilities are true, one set of images in twenty asks for a temperature, not one in two."""
        left = [temperature_helps(*drawn(300, seed=seed)) for seed in range(40)]
        assert sum(left) <= 5
        assert not temperature_helps(*drawn(3_000, seed=1))
        logits, y = drawn(3_000, seed=1)
        assert temperature_helps(1.5 * logits, y)

    def test_answers_without_a_mistake_stay_uncertain(self) -> None:
        logits = np.array([[30.0, 0.0]] * 10)
        y = np.zeros(10, np.int64)
        assert checked_temperature(logits, y) == fit_temperature(logits, y) > 1

    @pytest.mark.parametrize("n", [1, 2])
    def test_next_to_no_images(self, n: int) -> None:
        assert checked_temperature(np.eye(2)[:n], np.ones(n, np.int64)) == 1.0


class TestTemperature:
    @pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
    def test_a_known_one_is_found(self, temperature: float) -> None:
        logits, y = drawn(20_000)
        assert fit_temperature(logits * temperature, y) == pytest.approx(temperature, rel=0.03)

    def test_no_other_is_likelier(self) -> None:
        logits, y = drawn(300, seed=1)
        found = fit_temperature(5 * logits, y)
        best = likelihood(5 * logits, y, found)
        others = [likelihood(5 * logits, y, found * factor) for factor in (0.5, 0.9, 0.999, 1.001, 1.1, 2)]
        assert best < min(others)

    def test_two_classes_have_a_closed_form(self) -> None:
        # Three of four are right with a gap of 2: sigmoid(2 / T) = 3 / 4.
        logits = np.array([[2.0, 0.0]] * 4, np.float32)
        assert fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(2 / np.log(3))

    @pytest.mark.parametrize("n", [1, 5, 200])
    def test_no_mistake_does_not_make_certain(self, n: int) -> None:
        logits = np.tile([9.0, 0.0, 0.0], (n, 1))
        found = softmax(logits, fit_temperature(logits, np.zeros(n, np.int64)))
        assert found[:, 0].mean() == pytest.approx((n + 1) / (n + 2))

    def test_worse_than_chance_stops_at_the_bound(self) -> None:
        logits = np.tile([3.0, 0.0], (10, 1))
        assert fit_temperature(logits, np.ones(10, np.int64)) == TEMPERATURES[1]

    def test_logits_that_say_nothing_stay(self) -> None:
        assert fit_temperature(np.ones((3, 4)), np.array([0, 1, 2])) == 1.0

    def test_huge_logits_do_not_overflow(self) -> None:
        logits, y = drawn(1000)
        assert fit_temperature(logits + 1e5, y) == pytest.approx(fit_temperature(logits, y), rel=1e-6)

    @pytest.mark.parametrize(
        ("logits", "y", "error", "reason"),
        [
            (np.zeros((0, 3)), np.zeros(0, np.int64), InputError, "one image at least"),
            (np.zeros((2, 3)), np.zeros(3, np.int64), InputError, r"\[2, 3\] for \[3\] classes"),
            (np.zeros(3), np.zeros(3, np.int64), InputError, "expected \\(images, classes\\)"),
            (np.zeros((1, 3)), np.array([3]), InputError, "expected whole numbers below 3"),
            (np.full((1, 3), np.nan), np.array([0]), NumericsError, "logits hold NaN"),
        ],
    )
    def test_what_cannot_be_fitted(
        self, logits: NDArray[np.float64], y: NDArray[np.int64], error: type[Exception], reason: str
    ) -> None:
        with pytest.raises(error, match=reason):
            fit_temperature(logits, y)


class TestReliability:
    def test_bins_hold_what_they_should(self) -> None:
        best = np.array([0.55, 0.6, 0.95, 1.0])  # 0.6 and 1.0 are upper edges of their bins
        curve = reliability(np.stack([best, 1 - best], axis=1), np.array([0, 1, 0, 0]), 5)
        np.testing.assert_array_equal(curve.count, [0, 0, 2, 0, 2])
        np.testing.assert_allclose(curve.confidence, [np.nan, np.nan, 0.575, np.nan, 0.975])
        np.testing.assert_allclose(curve.accuracy, [np.nan, np.nan, 0.5, np.nan, 1.0])

    def test_error_is_the_mean_gap(self) -> None:
        best = np.array([0.55, 0.6, 0.95, 1.0])
        found = calibration_error(np.stack([best, 1 - best], axis=1), np.array([0, 1, 0, 0]), 5)
        assert found == pytest.approx((0.075 * 2 + 0.025 * 2) / 4)

    def test_no_gap_where_probabilities_are_true(self) -> None:
        logits, y = drawn(50_000)
        assert calibration_error(softmax(logits), y) < 0.01
        assert calibration_error(softmax(4 * logits), y) > 0.1

    def test_always_sure_and_half_the_time_right(self) -> None:
        assert calibration_error(np.tile([1.0, 0.0], (10, 1)), np.arange(10) % 2) == pytest.approx(0.5)

    def test_true_probabilities_seem_wrong_by_chance(self) -> None:
        """The errors of samples whose probabilities are true lie where `chance_error` says."""
        errors, most = [], []
        for seed in range(100):
            logits, y = drawn(150, seed=seed)
            curve = reliability(softmax(logits), y)
            errors.append(calibration_error(softmax(logits), y))
            most.append(chance_error(curve).most)
        assert np.mean(errors) == pytest.approx(chance_error(curve).mean, rel=0.15)
        assert 88 <= sum(error <= limit for error, limit in zip(errors, most, strict=True)) <= 99

    def test_no_bin(self) -> None:
        with pytest.raises(InputError, match="0 bins; expected at least 1"):
            reliability(np.ones((1, 1)), np.array([0]), 0)
