from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from finetune.classifiers.fitting import choose_strength, fit_classifier, fit_regressions
from finetune.classifiers.folds import make_folds
from finetune.classifiers.softmax_regression import SoftmaxRegression, moments
from tests.finetune.classifiers.blobs import blobs

SIZES = {2: (40, 25), 4: (40, 25, 30, 20)}


@pytest.mark.parametrize("strength", [0.001, 1.0])
@pytest.mark.parametrize("classes", SIZES)
def test_its_optimum_is_that_of_scikit_learn(classes: int, strength: float) -> None:
    x, y, _ = blobs(SIZES[classes])
    z = StandardScaler().fit_transform(x.astype(np.float64))
    ours = SoftmaxRegression.fit(z, y, classes, strength, tolerance=1e-8)
    theirs = LogisticRegression(C=strength, tol=1e-9, max_iter=10_000).fit(z, y)
    np.testing.assert_allclose(ours.probabilities(z), theirs.predict_proba(z), atol=1e-6)
    weights = ours.weights.T if classes > 2 else ours.weights.T[1:] - ours.weights.T[:1]
    np.testing.assert_allclose(weights, theirs.coef_, atol=1e-5)


def test_it_ends_nearer_to_the_optimum_than_scikit_learn() -> None:
    x, y, _ = blobs(SIZES[4])
    z = StandardScaler().fit_transform(x.astype(np.float64))
    best = SoftmaxRegression.fit(z, y, 4, 0.1, tolerance=1e-9).probabilities(z)
    ours = SoftmaxRegression.fit(z, y, 4, 0.1).probabilities(z)
    theirs = LogisticRegression(C=0.1).fit(z, y).predict_proba(z)
    assert 0 < np.abs(ours - best).max() < np.abs(theirs - best).max()


def test_features_may_lie_far_from_zero_and_one_be_constant() -> None:
    x, y, _ = blobs(SIZES[4])
    x = x * np.linspace(0.01, 100, x.shape[1], dtype=np.float32) + 300
    x[:, 3] = 0.1
    ours = SoftmaxRegression.of_features(x, y, 4, 0.01)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, tol=1e-9, max_iter=10_000))
    np.testing.assert_allclose(
        ours.probabilities(x), theirs.fit(x.astype(np.float64), y).predict_proba(x), atol=1e-3
    )
    assert not ours.weights[3].any()


def test_moments_are_those_of_a_standard_scaler() -> None:
    x = np.random.default_rng(0).normal(5, 2, (50, 4)).astype(np.float32)
    x[:, 1], x[:, 2] = 0.1, 1e8  # constant: what varies is rounding
    x[7, 3] = 1e6
    mean, spread = moments(x)
    scaler = StandardScaler().fit(x.astype(np.float64))
    np.testing.assert_allclose(mean, scaler.mean_, rtol=1e-12)
    np.testing.assert_allclose(spread, scaler.scale_, rtol=1e-12)


def test_where_nothing_is_to_be_learned_classes_are_as_frequent_as_they_are() -> None:
    y = np.array([0, 0, 0, 1, 2, 2])
    fitted = SoftmaxRegression.of_features(np.full((6, 5), 7, np.float32), y, 3, 1.0)
    np.testing.assert_allclose(fitted.probabilities(np.full((1, 5), 7)), [[1 / 2, 1 / 6, 1 / 3]], atol=1e-4)


def test_a_fit_that_begins_at_its_end_stays_there() -> None:
    x, y, _ = blobs(SIZES[4])
    first = SoftmaxRegression.of_features(x, y, 4, 0.01)
    again = SoftmaxRegression.of_features(x, y, 4, 0.01, start=first)
    np.testing.assert_allclose(again.weights, first.weights, rtol=1e-9, atol=1e-12)


def test_scikit_learn_begins_at_the_optimum_and_is_left_as_it_was() -> None:
    x, y, classes = blobs(SIZES[4])
    regression = fit_classifier("logistic", x, y, classes).estimator[-1]
    assert regression.n_iter_.max() == 0
    assert not regression.warm_start


@pytest.mark.parametrize("classes", SIZES)
def test_a_regression_without_a_part_knows_nothing_of_its_images(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other labels of the images held out it has the same bits; where it has learned from them, it has not."""
    x, y, names = blobs(SIZES[classes])
    folds = make_folds(y, None, 0)
    wrong = y.copy()
    wrong[folds[0][1]] = (y[folds[0][1]] + 1) % classes
    honest, other = (choose_strength(x, labels, names, folds=folds) for labels in (y, wrong))
    assert len(honest.starts[0]) != len(other.starts[0])  # wrong labels ask for stiffer fits
    monkeypatch.setattr(type(honest), "best", lambda *_, **__: ({"C": 0.001}, {}))
    fits = [
        fit_regressions(
            choice,
            [(None, x, labels), *((i, x[learned], labels[learned]) for i, (learned, _) in enumerate(folds))],
        )
        for choice, labels in ((honest, y), (other, wrong))
    ]
    same = [np.array_equal(a.weights, b.weights) for a, b in zip(*fits, strict=True)]
    assert same == [False, True, False, False, False, False]


def test_fits_beside_each_other_are_those_one_by_one() -> None:
    x, y, names = blobs(SIZES[4])
    folds = make_folds(y, None, 0)
    choice = choose_strength(x, y, names, folds=folds)
    rows = [(i, x[learned], y[learned]) for i, (learned, _) in enumerate(folds)]
    beside, alone = fit_regressions(choice, rows), [fit_regressions(choice, [one])[0] for one in rows]
    assert all(np.array_equal(a.weights, b.weights) for a, b in zip(beside, alone, strict=True))


def test_a_head_begins_without_scikit_learn() -> None:
    """Its import takes longer than all of the fits."""
    program = (
        "import sys, numpy; import finetune.job.trainings; import finetune.classifiers.fitting as fitting\n"
        "x, y = numpy.random.default_rng(0).random((20, 3), numpy.float32), numpy.arange(20) % 2\n"
        "fitting.fit_regressions(fitting.choose_strength(x, y, ('a', 'b')), [(None, x, y)])\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] in ('sklearn', 'pandas')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_of_strengths_that_are_as_good_the_strongest_penalty_is_taken() -> None:
    """Where an almost unbounded fit is better by a thousandth, it is so by chance."""
    rng, y = np.random.default_rng(0), np.repeat(np.arange(4), 5)
    x = rng.normal(0, 1, (20, 300)) + np.eye(4).repeat(75, 1)[y] / 2
    settings, figures = choose_strength(x.astype(np.float32), y, ["a", "b", "c", "d"]).best()
    assert settings == {"C": 100}
    assert figures["log_loss"] == pytest.approx(0.6271, abs=1e-4)  # 0.6268 with C = 1000
