from __future__ import annotations

import itertools

import numpy as np
import pytest

from finetune.report.findings import Growth, LearningPoint
from finetune.report.learning_curve import growth, learning_curve, nested_order


def nearest_mean(x: np.ndarray, y: np.ndarray):  # type: ignore[no-untyped-def]
    means = np.stack([x[y == label].mean(axis=0) for label in range(3)])
    return lambda rows: ((rows[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)


def blobs(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, images)
    return (random.normal(size=(images, 4)) + 3 * np.eye(3, 4)[y]).astype(np.float32), y


def test_points_at_the_sizes_that_there_are() -> None:
    ticks = itertools.count(step=2.5)
    points = learning_curve(
        nearest_mean, blobs(1200, 0), blobs(50, 1), blobs(80, 2), clock=lambda: next(ticks)
    )
    assert [point.samples for point in points] == [50, 100, 1000, 1200]
    assert all(point.seconds == 2.5 for point in points)
    assert all(point.test is not None and point.test > 0.8 for point in points)


def test_parts_without_images_have_no_score() -> None:
    (point,) = learning_curve(nearest_mean, blobs(40, 0))
    assert (point.samples, point.val, point.test) == (40, None, None)


def test_too_few_samples_for_the_classes_are_left_out() -> None:
    y = np.repeat(np.arange(30), 10)
    seen = []

    def fit(x: np.ndarray, labels: np.ndarray):  # type: ignore[no-untyped-def]
        seen.append(np.bincount(labels, minlength=30))
        return lambda rows: np.zeros(len(rows), np.int64)

    points = learning_curve(fit, (np.zeros((300, 2), np.float32), y))
    assert [point.samples for point in points] == [100, 300]
    assert seen[0].min() >= 3  # stratified: a third of each class
    assert seen[0].max() <= 4


def test_each_beginning_is_stratified_and_within_the_next() -> None:
    classes = np.repeat([0, 1, 2], [800, 190, 10])
    order = nested_order(classes, seed=3)
    assert sorted(order.tolist()) == list(range(1000))
    assert set(classes[order[:3]]) == {0, 1, 2}
    assert np.bincount(classes[order[:100]]) == pytest.approx([80, 19, 1], abs=1)


def test_order_depends_on_the_seed_alone() -> None:
    classes = np.arange(100) % 4
    np.testing.assert_array_equal(nested_order(classes, 1), nested_order(classes, 1))
    assert nested_order(classes, 1).tolist() != nested_order(classes, 2).tolist()


def test_regression_takes_a_score_of_its_own() -> None:
    x = np.linspace(0, 1, 200, dtype=np.float32)[:, None]
    points = learning_curve(
        lambda rows, y: lambda other: other[:, 0],
        (x, x[:, 0]),
        score=lambda y, said: 1 - float(np.abs(y - said).max()),
    )
    assert [(point.samples, point.train) for point in points] == [(50, 1.0), (100, 1.0), (200, 1.0)]


def points(*scores: tuple[int, float], images: int | None = None, seed: int = 0) -> tuple[LearningPoint, ...]:
    """A curve; with `images`, as resamples of so many that are right at random."""
    draws = np.random.default_rng(seed)
    return tuple(
        LearningPoint(
            n, 1.0, score, 0.5, 0.1, draws.binomial(images, score, 400) / images if images else None
        )
        for n, score in scores
    )


def test_growth_is_that_of_a_power_of_the_error() -> None:
    grown = growth(points((100, 0.6), (200, 0.68), (400, 0.744)))
    assert grown is not None
    assert grown.gain == pytest.approx(0.256 * 0.2)
    assert grown.rising
    assert grown.interval is None
    assert grown.words() == "+5.1 points"


def test_growth_prefers_validation_images() -> None:
    level = tuple(LearningPoint(n, 1.0, None, 0.9, 0.1) for n in (100, 400))
    assert growth(level) == Growth(0.0, None, False)


def test_growth_of_one_point_is_unknown() -> None:
    assert growth(points((100, 0.5))) is None
    assert growth(points((100, float("nan")), (200, 0.5))) is None


def test_a_rise_between_two_neighbours_is_not_carried_on() -> None:
    """A point and a half in 55 samples more, as chance gives, are not 17 points for each doubling."""
    grown = growth(points((100, 0.60), (1000, 0.75), (1055, 0.765), images=150))
    assert grown is not None
    assert grown.gain == pytest.approx(0.032, abs=0.01)
    low, high = grown.interval or (0, 0)
    assert low < grown.gain < high


def test_few_images_do_not_tell_whether_the_curve_rises() -> None:
    few, many = (growth(points((100, 0.80), (1000, 0.90), images=n)) for n in (30, 20_000))
    assert few is not None
    assert many is not None
    assert (few.rising, many.rising) == (None, True)
    level = growth(points((100, 0.8), (1000, 0.8), images=200_000))
    assert level is not None
    assert level.rising is False


def test_the_interval_holds_what_twice_the_samples_bring() -> None:
    """Of curves that a power law draws, nineteen in twenty; resamples are of the same images at all points."""
    held, random = 0, np.random.default_rng(1)
    sizes, images, repeats = (50, 100, 400), 200, 100
    for _ in range(repeats):
        chances = random.random(images)  # an image is right where its chance is below the score
        scores = [1 - 0.8 * (n / 50) ** -0.3 for n in sizes]
        draws = [random.integers(0, images, images) for _ in range(200)]
        right = [chances < score for score in scores]
        curve = tuple(
            LearningPoint(n, 1.0, float(r.mean()), None, 0.1, np.array([r[some].mean() for some in draws]))
            for n, r in zip(sizes, right, strict=True)
        )
        grown = growth(curve)
        assert grown is not None
        low, high = grown.interval or (0, 0)
        held += low <= 0.8 * 8**-0.3 * (1 - 2**-0.3) <= high
    assert held >= 90


def test_points_carry_what_other_images_would_have_given() -> None:
    (point,) = learning_curve(nearest_mean, blobs(40, 0), blobs(50, 1))
    assert point.resampled is not None
    assert point.resampled.std() == pytest.approx(np.sqrt(point.val * (1 - point.val) / 50), rel=0.2)
    assert growth((point,)) is None
