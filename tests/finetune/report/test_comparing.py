from __future__ import annotations

import numpy as np
import pytest

from finetune.report.comparing import compare, leak_effect, mcnemar
from finetune.trust.measures import Share


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (1, 9, 2 * 11 / 1024),  # (C(10, 0) + C(10, 1)) / 2^10, both sides
        (9, 1, 2 * 11 / 1024),
        (0, 5, 2 / 32),
    ],
)
def test_mcnemar_is_exact(one: int, other: int, p: float) -> None:
    assert mcnemar(one, other) == pytest.approx(p)


def models(only_new: int, only_previous: int, same: int = 100) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, answers of a new model and of a previous one."""
    truth = np.zeros(only_new + only_previous + same, np.int64)
    new, previous = truth.copy(), truth.copy()
    previous[:only_new] = -1
    new[only_new : only_new + only_previous] = 1
    return truth, new, previous


def test_comparison_counts() -> None:
    found = compare(*models(8, 3))
    assert (found.only_new, found.only_previous, found.both_right, found.both_wrong) == (8, 3, 100, 0)
    assert (found.new, found.previous, found.changed) == (Share(108, 111), Share(103, 111), 11)


@pytest.mark.parametrize(
    ("one", "other", "significant", "words"),
    [
        (0, 0, False, "no difference to speak of"),
        (10, 0, False, "about 30 changed answers is where a difference starts to mean anything"),
        (29, 0, False, "rule of thumb"),
        (30, 0, True, "The gain is significant"),
        (5, 30, True, "The loss is significant"),
        (22, 18, False, "no proof of a difference"),
    ],
)
def test_words_follow_the_counts(one: int, other: int, significant: bool, words: str) -> None:
    found = compare(*models(one, other))
    assert found.significant is significant
    assert words in found.words()


def test_leaks_split_the_accuracy() -> None:
    truth = np.array([0, 0, 0, 0])
    found = leak_effect(truth, np.array([0, 0, 1, 1]), np.array([1, 0, 1]))
    assert found.rows == (0, 1)
    assert (found.everything, found.without, found.leaked) == (Share(2, 4), Share(0, 2), Share(2, 2))
