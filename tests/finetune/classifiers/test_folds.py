from __future__ import annotations

import numpy as np
import pytest

from finetune.classifiers.folds import make_folds, make_plain_folds


def test_each_fold_has_its_share_of_each_class() -> None:
    y = np.repeat([0, 1, 2], [50, 20, 5])
    folds = make_folds(y, None, seed=0)
    assert len(folds) == 5
    for train, held in folds:
        assert np.bincount(y[held]).tolist() == [10, 4, 1]
        assert np.intersect1d(train, held).size == 0
    assert np.sort(np.concatenate([held for _, held in folds])).tolist() == list(range(75))


def test_groups_stay_whole() -> None:
    y = np.repeat([0, 1], 40)
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(20), 4))  # across the classes too
    for train, held in make_folds(y, groups, seed=0):
        assert np.intersect1d(groups[train], groups[held]).size == 0
    for train, held in make_plain_folds(80, groups, seed=0):
        assert np.intersect1d(groups[train], groups[held]).size == 0


@pytest.mark.parametrize("groups", [None, np.array([0, 0, 1, 1, 2, 3, 4, 4, 0, 5])])
def test_training_never_lacks_a_class(groups: np.ndarray | None) -> None:
    y = np.array([0, 0, 0, 0, 0, 1, 2, 2, 2, 2])
    folds = make_folds(y, groups, seed=1)
    assert folds
    for train, held in folds:
        assert set(y[train]) == {0, 1, 2}
        assert 1 not in y[held]  # its only image


def test_a_class_that_stands_in_groups_of_another_is_never_held_out() -> None:
    y = np.array([0, 0, 0, 0, 1, 1])
    groups = np.array([0, 1, 2, 3, 2, 2])  # near duplicates with different labels
    for train, held in make_folds(y, groups, seed=0):
        assert set(y[train]) == {0, 1}
        assert not np.isin(groups[held], 2).any()


def test_nothing_can_be_held_out_of_single_images() -> None:
    assert make_folds(np.arange(4), None, seed=0) == []
    assert make_plain_folds(1, None, seed=0) == []


def test_a_large_set_has_one_fold() -> None:
    y = np.arange(6000) % 3
    ((_, held),) = make_folds(y, None, seed=0)
    assert len(held) == 1200


def test_seed_decides() -> None:
    y = np.arange(100) % 3
    first, again, other = (make_folds(y, None, seed)[0][1].tolist() for seed in (0, 0, 1))
    assert first == again != other
