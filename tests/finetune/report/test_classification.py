from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from finetune.report import classification
from finetune.trust.measures import Share

TRUTH = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
SAID = np.array([0, 0, 1, 1, 1, 1, 0, 2, 2, 1])
SURE = np.array([0.9, 0.8, 0.5, 0.7, 0.9, 0.9, 0.6, 0.9, 0.9, 0.8])
NAMES = ("a", "b", "c", "never seen")


def test_classes_agree_with_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth, said = random.integers(0, 7, 500), random.integers(0, 7, 500)
    found = classification.per_class(truth, said, tuple("abcdefg"))
    expected = precision_recall_fscore_support(truth, said)
    for i, one in enumerate(found):
        assert (one.precision, one.recall, one.f1, one.images) == pytest.approx(
            [column[i] for column in expected]
        )
    means = precision_recall_fscore_support(truth, said, average="macro")
    mean = classification.macro(found)
    assert (mean.precision, mean.recall, mean.f1) == pytest.approx(means[:3])


def test_class_without_images_has_no_numbers() -> None:
    last = classification.per_class(TRUTH, SAID, NAMES)[3]
    assert math.isnan(last.precision)
    assert math.isnan(last.recall)
    assert classification.macro(classification.per_class(TRUTH, SAID, NAMES)).classes == 3


def test_matrix_agrees_with_scikit_learn() -> None:
    ours = classification.confusion_matrix(TRUTH, SAID, 3)
    np.testing.assert_array_equal(ours, confusion_matrix(TRUTH, SAID))


def test_confusions_are_ranked_with_their_images() -> None:
    found = classification.confusions(TRUTH, SAID, SURE)
    assert [(one.truth, one.predicted, one.rows) for one in found] == [
        (0, 1, (3, 2)),
        (1, 0, (6,)),
        (2, 1, (9,)),
    ]
    assert found[0].share == 0.5


def test_many_images_rank_before_a_large_share() -> None:
    truth = np.array([0] * 10 + [1])
    found = classification.confusions(truth, np.array([1, 1] + [0] * 9), np.ones(11))
    assert [(len(one.rows), one.share) for one in found] == [(2, 0.2), (1, 1.0)]


def test_most_confident_mistake_comes_first() -> None:
    assert classification.confident_mistakes(TRUTH, SAID, SURE).tolist() == [9, 3, 6, 2]


def test_within_breaks_ties_by_index() -> None:
    table = np.array([[0.4, 0.4, 0.2], [0.4, 0.4, 0.2], [0.1, 0.2, 0.7]])
    assert classification.within(table, np.array([0, 1, 0]), 1) == Share(1, 3)
    assert classification.within(table, np.array([0, 1, 0]), 2) == Share(2, 3)
