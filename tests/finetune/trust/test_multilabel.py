"""Measures of labels, against scikit-learn's; temperature and thresholds on images that they were not fitted on."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score, log_loss, precision_score, recall_score

from finetune.trust.multilabel import (
    average_precision,
    label_calibration_error,
    label_entropy,
    label_temperature,
    label_thresholds,
    mean_average_precision,
    measure_multilabel,
    sigmoid,
)


def drawn(images: int = 400, labels: int = 4, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Logits, and truths that are drawn with the probabilities that they stand for."""
    random = np.random.default_rng(seed)
    logits = random.normal(-1, 2, (images, labels))
    return logits, random.random((images, labels)) < sigmoid(logits)


def test_measures_are_those_of_scikit_learn() -> None:
    logits, truth = drawn()
    likely, thresholds = sigmoid(logits), [0.5, 0.3, 0.2, 0.4]
    answered = likely >= thresholds
    measure = measure_multilabel(truth, likely, thresholds, ("a", "b", "c", "d"))
    for average, given in (("micro", measure.f1), ("macro", measure.mean_f1)):
        assert given == pytest.approx(f1_score(truth, answered, average=average))
    assert measure.mean_average_precision == pytest.approx(
        average_precision_score(truth, likely, average="macro")
    )
    assert measure.all_right.value == pytest.approx((truth == answered).all(axis=1).mean())
    assert measure.log_loss == pytest.approx(log_loss(truth.ravel(), likely.ravel()))
    for i, one in enumerate(measure.labels):
        assert one.precision == pytest.approx(precision_score(truth[:, i], answered[:, i]))
        assert one.recall == pytest.approx(recall_score(truth[:, i], answered[:, i]))
        assert one.average_precision == pytest.approx(average_precision_score(truth[:, i], likely[:, i]))


def test_equal_scores_count_together_and_no_image_is_nan() -> None:
    truth = np.array([1, 0, 0, 1, 0], bool)
    scores = np.array([0.5, 0.5, 0.1, 0.1, 0.1])
    assert average_precision(truth, scores) == pytest.approx(average_precision_score(truth, scores))
    assert np.isnan(average_precision(np.zeros(3, bool), np.ones(3)))
    table = np.stack([truth, np.zeros(5, bool)], axis=1)
    assert mean_average_precision(table, np.stack([scores, scores], axis=1)) == average_precision(
        truth, scores
    )


def test_a_label_of_no_image_and_no_answer_has_no_figures() -> None:
    measure = measure_multilabel(np.array([[1, 0]]), np.array([[0.9, 0.1]]), [0.5, 0.5], ("a", "b"))
    assert np.isnan([measure.labels[1].precision, measure.labels[1].recall, measure.labels[1].f1]).all()
    assert (measure.mean_f1, measure.mean_average_precision) == (1.0, 1.0)  # of the label that there is
    assert (measure.all_right.count, measure.none.count) == (1, 0)


def test_calibration_error_is_the_gap() -> None:
    assert label_calibration_error(np.array([1, 0, 0, 0]), np.full(4, 0.25)) == pytest.approx(0)
    assert label_calibration_error(np.array([1, 1]), np.array([0.4, 0.8])) == pytest.approx(0.4)
    logits, truth = drawn(4000)
    assert label_calibration_error(truth.ravel(), sigmoid(logits).ravel()) < 0.02


def test_temperature_mends_what_is_too_sure() -> None:
    logits, truth = drawn()
    temperature = label_temperature(3 * logits, truth)
    assert temperature == pytest.approx(3, rel=0.2)
    assert label_entropy(3 * logits / temperature, truth) < label_entropy(3 * logits, truth)


def test_temperature_of_few_images_is_left_out_where_it_helps_no_others() -> None:
    random = np.random.default_rng(1)
    helped = [label_temperature(logits, truth) for logits, truth in (drawn(8, 2, seed) for seed in range(20))]
    assert 1.0 in helped
    assert label_temperature(random.normal(size=(1, 3)), np.array([[1, 0, 1]])) == 1.0


def test_thresholds_make_f1_better_on_other_images() -> None:
    logits, truth = drawn(600, seed=2)
    others, holds = drawn(4000, seed=3)
    logits, others = logits - 1.5, others - 1.5  # labels are said to be rarer than they are
    thresholds = label_thresholds(sigmoid(logits), truth)
    assert all(0 < one < 0.5 for one in thresholds)
    tuned = measure_multilabel(holds, sigmoid(others), thresholds, "abcd")
    plain = measure_multilabel(holds, sigmoid(others), [0.5] * 4, "abcd")
    assert tuned.f1 > plain.f1 + 0.05


def test_thresholds_stay_where_nothing_better_is_known() -> None:
    logits, truth = drawn(300)
    rare = truth.copy()
    rare[:, 0] = False
    rare[:9, 0] = True  # nine images with the label
    assert label_thresholds(sigmoid(logits), rare)[0] == 0.5
    assert label_thresholds(sigmoid(logits), ~rare)[0] == 0.5
    perfect = np.where(truth, 0.9, 0.1)
    assert label_thresholds(perfect, truth) == (0.5,) * 4
    high = np.where(truth, 0.9, 0.7)  # of true probabilities none above 1/2 is the best
    assert max(label_thresholds(high, truth)) == 0.5


def test_sigmoid_does_not_overflow() -> None:
    with np.errstate(all="raise", under="ignore"):
        assert sigmoid(np.array([-1e6, 0, 1e6])).tolist() == [0.0, 0.5, 1.0]
