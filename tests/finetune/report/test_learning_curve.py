from __future__ import annotations

import itertools

import numpy as np
import pytest

from finetune.report.findings import LearningPoint
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


def points(*scores: tuple[int, float | None, float | None]) -> tuple[LearningPoint, ...]:
    return tuple(LearningPoint(n, 1.0, val, test, 0.1) for n, val, test in scores)


def test_growth_is_per_doubling_and_prefers_validation() -> None:
    rising, gain = growth(points((100, 0.5, 0.9), (400, 0.6, 0.9))) or (None, 0)
    assert rising
    assert gain == pytest.approx(0.05)
    assert growth(points((100, None, 0.9), (400, None, 0.9))) == (False, 0.0)


def test_growth_of_one_point_is_unknown() -> None:
    assert growth(points((100, 0.5, 0.5))) is None
    assert growth(points((100, float("nan"), 0.5), (200, 0.5, 0.5))) is None


def test_few_images_do_not_tell_whether_the_curve_rises() -> None:
    points = tuple(LearningPoint(n, 1.0, 0.8, 0.7, 0.0) for n in (50, 100))
    assert growth(points, 12) == (None, 0.0)
    assert growth(points, 200) == (False, 0.0)


def test_the_rise_is_not_taken_from_a_few_samples_more() -> None:
    scores = {50: 0.6, 100: 0.8, 105: 0.81}
    gain = growth(tuple(LearningPoint(n, 1.0, score, None, 0.0) for n, score in scores.items()))
    assert gain == (True, pytest.approx(0.21 / np.log2(105 / 50)))
