"""Folds for cross-validation that keep groups whole and never take a class away from training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
FOLDS = 5
LARGE = 5_000  # with more images one fold of them tells as much as five of a smaller set


def make_folds(y: Ints, groups: Ints | None, seed: int) -> list[tuple[Ints, Ints]]:
    """Pairs of positions (to train on, to hold out); at most five, one for a large set, none where none is possible.

    y: (N,) classes. The groups of a class are dealt out to the folds in turn, so each fold has its share of each
    class; a class with fewer groups than folds is held out in fewer of them. A class of one image or one group is
    never held out, since nothing of it would be left to learn from: cross-validation says nothing about it.
    """
    rng = np.random.default_rng(seed)
    _, members = np.unique(np.arange(len(y)) if groups is None else groups, return_inverse=True)
    _, first = np.unique(members, return_index=True)  # the class of a group is that of its first image
    fold_of_group = np.full(len(first), -1)
    for n, c in enumerate(np.unique(y)):
        own = rng.permutation(np.flatnonzero(y[first] == c))
        if len(own) > 1:
            fold_of_group[own] = (np.arange(len(own)) + n) % FOLDS
    fold = fold_of_group[members]
    folds = []
    for number in range(1 if len(y) > LARGE else FOLDS):
        held = fold == number
        lost = np.setdiff1d(y, y[~held])  # classes that stand only in groups of other classes
        if len(lost):
            held &= ~np.isin(members, members[np.isin(y, lost)])
        if held.any():
            folds.append((np.flatnonzero(~held), np.flatnonzero(held)))
    return folds


def make_plain_folds(count: int, groups: Ints | None, seed: int) -> list[tuple[Ints, Ints]]:
    """The same for regressions, where there are no classes."""
    rng = np.random.default_rng(seed)
    _, members = np.unique(np.arange(count) if groups is None else groups, return_inverse=True)
    number = members.max() + 1
    fold_of_group = np.empty(number, np.int64)
    fold_of_group[rng.permutation(number)] = np.arange(number) % FOLDS
    fold = fold_of_group[members]
    wanted = 1 if count > LARGE else min(FOLDS, number)
    if number < 2:
        return []
    return [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(wanted)]
