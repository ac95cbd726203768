from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from finetune.report import measures
from finetune.report.measures import Share

TRUTH = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
SAID = np.array([0, 0, 1, 1, 1, 1, 0, 2, 2, 1])
SURE = np.array([0.9, 0.8, 0.5, 0.7, 0.9, 0.9, 0.6, 0.9, 0.9, 0.8])
NAMES = ("a", "b", "c", "never seen")


def test_accuracy_counts() -> None:
    assert measures.accuracy(TRUTH, SAID) == Share(6, 10)


def test_share_of_nothing_is_unknown() -> None:
    assert math.isnan(Share(0, 0).value)
    assert Share(0, 0).interval == (0.0, 1.0)


def test_interval_is_wilsons() -> None:
    # Brown, Cai and DasGupta 2001 give the Wilson interval's centre (X + z²/2) / (n + z²): 7.9207 / 13.8415 here.
    low, high = Share(6, 10).interval
    assert (low + high) / 2 == pytest.approx(0.57225, abs=1e-4)
    assert low < 0.6 < high


def test_classes_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth, said = random.integers(0, 7, 500), random.integers(0, 7, 500)
    found = measures.per_class(truth, said, tuple("abcdefg"))
    expected = precision_recall_fscore_support(truth, said)
    for i, one in enumerate(found):
        assert (one.precision, one.recall, one.f1, one.images) == pytest.approx(
            [column[i] for column in expected]
        )
    means = precision_recall_fscore_support(truth, said, average="macro")
    mean = measures.macro(found)
    assert (mean.precision, mean.recall, mean.f1) == pytest.approx(means[:3])


def test_class_without_images_has_no_numbers() -> None:
    last = measures.per_class(TRUTH, SAID, NAMES)[3]
    assert math.isnan(last.precision)
    assert math.isnan(last.recall)
    assert measures.macro(measures.per_class(TRUTH, SAID, NAMES)).classes == 3


def test_matrix_agrees_with_scikit_learn() -> None:
    ours = measures.confusion_matrix(TRUTH, SAID, 3)
    np.testing.assert_array_equal(ours, confusion_matrix(TRUTH, SAID))


def test_confusions_are_ranked_with_their_images() -> None:
    found = measures.confusions(TRUTH, SAID, SURE)
    assert [(one.truth, one.predicted, one.rows) for one in found] == [
        (0, 1, (3, 2)),
        (1, 0, (6,)),
        (2, 1, (9,)),
    ]
    assert found[0].share == 0.5


def test_many_images_rank_before_a_large_share() -> None:
    truth = np.array([0] * 10 + [1])
    found = measures.confusions(truth, np.array([1, 1] + [0] * 9), np.ones(11))
    assert [(len(one.rows), one.share) for one in found] == [(2, 0.2), (1, 1.0)]


def test_most_confident_mistake_comes_first() -> None:
    assert measures.confident_mistakes(TRUTH, SAID, SURE).tolist() == [9, 3, 6, 2]


def test_within_breaks_ties_by_index() -> None:
    table = np.array([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2], [0.1, 0.2, 0.7]])
    assert measures.within(table, np.array([0, 1, 0]), 1) == Share(1, 3)
    assert measures.within(table, np.array([0, 1, 0]), 2) == Share(2, 3)


def test_auroc_counts_pairs() -> None:
    # pairs (known, unknown): 1 < 2, 1 < 3, 2 = 2 counts half, 2 < 3
    assert measures.auroc(np.array([1, 2]), np.array([2, 3])) == pytest.approx(3.5 / 4)
    assert math.isnan(measures.auroc(np.array([1]), np.array([])))
