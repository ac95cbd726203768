"""Which of several backbones to take: a light head on the features of each, cross-fitted on the same images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.classifiers.folds import make_folds, make_plain_folds
from finetune.dataset.examples import Example
from finetune.job.recipe import Recipe
from finetune.report.comparing import SIGNIFICANT, mcnemar
from finetune.report.findings import Candidate, Candidates
from finetune.report.learning_curve import nested_order
from finetune.single_thread import one_blas_thread
from finetune.trust.measures import Share, mean_interval
from models.errors import InputError
from models.runtime import Array
from models.wording import counted, percent, size

MOST = 5_000  # images that heads are fitted to and measured on
# Times as long within which two backbones count as equally fast: clocks differ from run to run.
EQUALLY_FAST = 1.25
_STRENGTHS = tuple(10.0**power for power in range(6))  # of the ridge; the images that are learned from choose


@dataclass(frozen=True)
class Tried:
    """A backbone that has been run: vectors (N, D) of all images, milliseconds an image, bytes of its file."""

    name: str
    vectors: Array
    milliseconds: float
    octets: int


def choose(
    examples: Sequence[Example],
    rows: NDArray[np.int64],
    groups: NDArray[np.int64],
    tried: Sequence[Tried],
    recipe: Recipe,
) -> Candidates:
    """Measure a head on each backbone's features at `rows`, on images that it did not learn from, and choose one.

    The one that is right most often is chosen; of those that are not provably worse the fastest, because so many
    images tell no more; of those about equally fast the better one.

    Raises:
        InputError: too few images to compare on.
    """
    classifies, tested = recipe.task != "regression", len(rows) < len(examples)
    y: NDArray[Any]
    if recipe.task == "multilabel":
        y, strata = _labels_of([examples[row] for row in rows])
    elif classifies:
        names = sorted({examples[row].label for row in rows})
        y = strata = np.array([names.index(examples[row].label) for row in rows], np.int64)
    else:
        y = np.array([examples[row].target for row in rows], np.float64)
        strata = np.zeros(len(rows), np.int64)
    if not classifies:
        order = np.random.default_rng(recipe.seed).permutation(len(rows))
    else:
        order = nested_order(strata, recipe.seed) if len(rows) > MOST else np.arange(len(rows))
    chosen = np.sort(order[:MOST])
    rows, y, strata = rows[chosen], y[chosen], strata[chosen]
    folds = (
        make_folds(strata, groups[rows], recipe.seed)
        if classifies
        else make_plain_folds(len(y), groups[rows], recipe.seed)
    )
    if not folds or (classifies and len(np.unique(y)) < 2):
        raise InputError(
            f"{counted(len(rows), 'image')} to learn from are too few to compare networks on; expected two classes "
            "with two images each. Add images, or name one network with --model."
        )
    misses = [_misses(one.vectors[rows], y, folds, classifies) for one in tried]
    held = [np.sort(out) for _, out in folds]
    every = np.sort(np.concatenate(held))
    choice = _choice(tried, [one[every] for one in misses], classifies)
    others = set()
    for part in held if len(held) > 1 else []:
        rest = np.setdiff1d(every, part)
        others.add(tried[_choice(tried, [one[rest] for one in misses], classifies).taken].name)
    others.discard(tried[choice.taken].name)
    if not others:
        return choice
    # Where no part has a say in it, a figure of the same images is as good as one of other images.
    doubt = f" The choice hangs on a few images: without one part of them it would be {' or '.join(sorted(others))}."
    if not tested:
        doubt += (
            " The figure of the model is of the images that chose the network, and may be a little too good."
        )
    return dataclasses.replace(choice, words=choice.words + doubt)


def _labels_of(examples: Sequence[Example]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Which labels hold, (N, labels) of 0 and 1, and a number for each combination of them, (N,)."""
    names = sorted({name for example in examples for name in example.holding})
    table = np.array([[name in example.holding for name in names] for example in examples], np.int64)
    _, strata = np.unique(table, axis=0, return_inverse=True)
    return table, strata.reshape(-1).astype(np.int64)


def _misses(
    x: Array, y: NDArray[Any], folds: Sequence[tuple[Any, Any]], classifies: bool
) -> NDArray[np.float64]:
    """How far off each answer (N,) is, of images that were held out: 0 or 1 of a class; the rest is NaN.

    Of labels (N, labels) an answer is right where all of them are.
    """
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    head = (RidgeClassifierCV if classifies else RidgeCV)(_STRENGTHS)
    misses = np.full(len(y), np.nan)
    with one_blas_thread():
        for learned, held in folds:
            answers = make_pipeline(StandardScaler(), head).fit(x[learned], y[learned]).predict(x[held])
            wrong = answers != y[held] if classifies else np.abs(answers - y[held])
            misses[held] = wrong.any(axis=1) if wrong.ndim == 2 else wrong
    return misses


def _choice(tried: Sequence[Tried], misses: Sequence[NDArray[np.float64]], classifies: bool) -> Candidates:
    """The best; of those that are not provably worse the fastest; of equally fast ones the best again."""
    means = [float(one.mean()) for one in misses]
    best = int(np.argmin(means))
    level = [i for i in range(len(tried)) if not _worse(misses[i], misses[best], classifies)]
    shortest = min(tried[i].milliseconds for i in level)
    quick = [i for i in level if tried[i].milliseconds <= EQUALLY_FAST * shortest]
    taken = min(quick, key=lambda i: (means[i], i))
    rows = tuple(
        Candidate(one.name, *_score(missed, classifies), one.milliseconds, one.octets)
        for one, missed in zip(tried, misses, strict=True)
    )
    return Candidates(rows, taken, len(misses[0]), _words(rows, taken, best, len(level) > 1, classifies))


def _worse(missed: NDArray[np.float64], least: NDArray[np.float64], classifies: bool) -> bool:
    """Whether chance hardly explains how much more one backbone misses than the best on the same images."""
    if classifies:
        only_one, only_best = int((missed < least).sum()), int((missed > least).sum())
        return only_best > only_one and mcnemar(only_one, only_best) < SIGNIFICANT
    low, _ = mean_interval(missed - least)
    return bool(low > 0)


def _score(missed: NDArray[np.float64], classifies: bool) -> tuple[float, tuple[float, float]]:
    """Accuracy, or mean absolute error, with its 95 % interval."""
    if classifies:
        right = Share(int((missed == 0).sum()), len(missed))
        return right.value, right.interval
    low, high = mean_interval(missed)
    return float(missed.mean()), (max(0.0, low), high)


def _words(rows: Sequence[Candidate], taken: int, best: int, tied: bool, classifies: bool) -> str:
    name, fast = rows[best].name, rows[taken]
    if len(rows) == 1:
        return f"{name} is the one that there was time to try. Going on with it."
    first = f"{name} {'is right most often' if classifies else 'comes closest'}"
    if taken == best:
        if not tied:
            return f"{first}, by more than chance explains. Going on with it."
        return f"{first}; others are not provably worse, and not clearly faster. Going on with it."
    times = rows[best].milliseconds / fast.milliseconds
    return (
        f"{first}, but by no more than chance explains on so few images: {fast.name} is not provably worse and "
        f"{times:.1f} times as fast. Going on with {fast.name}; --model {name} takes the other."
    )


def table_of(comparison: Candidates, classifies: bool) -> list[str]:
    """The comparison as lines of a table."""
    shown: Callable[[float], str] = percent if classifies else "{:.3g}".format
    cells = [("network", "right" if classifies else "off by", "95 % confidence", "ms an image", "size")]
    for row in comparison.rows:
        low, high = row.interval
        cells.append(
            (
                row.name,
                shown(row.score),
                f"{shown(low)} to {shown(high)}",
                f"{row.milliseconds:.1f}",
                size(row.octets),
            )
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]
