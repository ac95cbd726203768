from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from finetune.trust.class_curve import FEWEST, MOST, class_slopes


def blobs(
    counts: list[int], noise: list[float], seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Points around a direction for each class, as far from it as its noise."""
    dice = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    centres = np.random.default_rng(99).normal(0, 1, (len(counts), 30))
    return (centres[y] + dice.normal(0, 1, (len(y), 30)) * np.array(noise)[y, None]).astype(np.float32), y


def test_a_class_that_is_hard_and_has_few_images_gains_by_more() -> None:
    x, y = blobs([200, 200, 24, 200], [1.5, 1.5, 1.5, 1.5])
    slopes = class_slopes(x, y, np.arange(len(y)))
    assert set(slopes) == {0, 1, 2, 3}
    assert slopes[2].slope > 0.3
    assert all(one.error >= 0.25 for one in slopes.values())


def test_a_class_that_is_known_already_gains_nothing() -> None:
    x, y = blobs([60, 60, 60], [0.1] * 3)
    slopes = class_slopes(x, y, np.arange(len(y)))
    assert max(one.slope for one in slopes.values()) < 0.1


def test_copies_do_not_stand_on_two_sides() -> None:
    """Otherwise an image would be recognised by its own copy, however many there are of the class."""
    x, y = blobs([30, 30, 30], [2.5] * 3)
    x, y, groups = np.repeat(x, 6, axis=0), np.repeat(y, 6), np.repeat(np.arange(90), 6)
    apart, together = (class_slopes(x, y, which) for which in (np.arange(540), groups))
    assert max(apart[c].slope - together[c].slope for c in range(3)) > 0.2


@pytest.mark.parametrize("counts", [[FEWEST - 1, 40, 40], [FEWEST, 40, 40]])
def test_small_classes_have_none(counts: list[int]) -> None:
    x, y = blobs(counts, [1.0] * 3)
    assert (0 in class_slopes(x, y, np.arange(len(y)))) == (counts[0] >= FEWEST)


def test_the_weakest_of_many_and_the_same_each_time() -> None:
    x, y = blobs([12] * 40, [0.2] * 20 + [2.0] * 20)
    first, second = (class_slopes(x, y, np.arange(len(y)), seed=3) for _ in range(2))
    assert first == second
    assert len(first) == MOST
    assert np.mean([c >= 20 for c in first]) > 0.9


def test_features_that_are_all_equal_and_a_single_class() -> None:
    y = np.arange(60) % 3
    slopes = class_slopes(np.ones((60, 8), np.float32), y, np.arange(60))
    assert all(np.isfinite([one.slope, one.error]).all() for one in slopes.values())
    assert class_slopes(np.ones((60, 8), np.float32), 0 * y, np.arange(60)) == {}
