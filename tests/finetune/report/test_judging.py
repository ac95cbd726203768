from __future__ import annotations

import numpy as np
import pytest

from finetune.report.findings import History
from finetune.report.judging import decimate, judge_balance, judge_fit

FALLING = np.array([1.0, 0.8, 0.7, 0.65, 0.64, 0.638, 0.637, 0.636])


def history(
    train: float = 0.9, val: float = 0.88, loss: np.ndarray = FALLING, best: int = 7, **more: object
) -> History:
    flat = np.ones(len(loss))
    return History(loss * 0.9, loss, flat * train, flat * val, best, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "images", "kind", "words"),
    [
        (history(), None, "good", "no sign"),
        (history(0.99, 0.90), None, "overfitted", "somewhat over-fitted"),
        (history(0.99, 0.80), None, "overfitted", "strongly over-fitted"),
        (
            history(0.99, 0.90),
            25,
            "good",
            "9.0 points below training, which is no more than 25",
        ),  # 90 % of 25 images is known to 12 points only
        (history(0.99, 0.90), 1000, "overfitted", "99.0 % of the images that it learned from"),
        (history(0.80, 0.95), None, "good", "no sign"),  # augmentation and dropout make training harder
        (history(loss=np.array([1, 0.5, 0.51, 0.52]), best=1), None, "good", "no sign"),  # hardly rises
        (history(loss=np.array([1, 0.8, 0.6, 0.5]), best=3), None, "unfinished", "longer training"),
        (history(loss=np.array([1, 0.5, 0.6, 0.7]), best=1), None, "late", "After epoch 2"),
        (history(loss=np.array([1, 0.5]), best=1), None, "unknown", "Too few epochs"),
        (History(FALLING), None, "unknown", "Without validation images"),
        (History(np.array([1, np.nan, 2]), FALLING[:3]), None, "diverged", "in epoch 2"),
        (History(FALLING, FALLING * 1.4, best=7), None, "good", "no sign"),
        (History(FALLING, FALLING * 1.6, best=7), None, "overfitted", "1.6 times"),
        (History(FALLING, FALLING * np.nan), None, "unknown", "Without validation images"),
    ],
)
def test_fit_in_words(given: History, images: int | None, kind: str, words: str) -> None:
    found = judge_fit(given, images)
    assert found.kind == kind
    assert words in found.words


def test_only_strong_over_fitting_is_a_concern() -> None:
    assert not judge_fit(history(0.99, 0.90)).concern
    assert judge_fit(history(0.99, 0.80)).concern


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([100, 100], None),
        ([100, 40], None),
        ([100, 33], "unbalanced: 100 training images of “a” against 33 of “b”"),
        ([30, 19], "fewer than 20 training images of “b”"),
        ([19, 19], "of 2 classes"),
        ([5], None),
    ],
)
def test_balance_in_words(counts: list[int], words: str | None) -> None:
    said = judge_balance(np.array(counts), ("a", "b"))
    assert said is None if words is None else words in str(said)


def test_decimation_keeps_both_ends() -> None:
    rows, points = decimate(np.arange(100_000.0), 1000)
    assert len(rows) == 1000
    assert (points[0], points[-1]) == (0, 99_999)
    assert len(decimate(np.arange(3.0))[0]) == 3


def test_a_loss_that_rose_from_nothing_is_told_without_a_percentage() -> None:
    found = judge_fit(History(np.zeros(4), np.array([0.5, 0.0, 0.1, 0.3]), best=1))
    assert found.kind == "late"
    assert "rose from 0 to 0.3." in found.words
