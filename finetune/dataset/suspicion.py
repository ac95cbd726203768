"""Labels that are likely wrong, and images that are unlike their class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune.dataset.duplicates import Group
from finetune.dataset.examples import Dataset
from finetune.dataset.unions import Unions
from finetune.single_thread import one_blas_thread
from finetune.trust.measures import softmax
from models.runtime import Array

FOLDS = 5
NEIGHBOURS = 5
# Classes; with more, nearest means take the place of a logistic regression, which would take hours.
_ONE_BY_ONE = 100
_SHARPNESS = 20.0  # of the softmax over cosines to the means
_FAR = 3.5  # robust standard deviations; Iglewicz and Hoaglin 1993, "How to detect and handle outliers"
_FEW = 10  # images of a class below which nothing is said of outliers
_BLOCK = 1024


@dataclass(frozen=True)
class Suspect:
    """An image whose label is probably wrong."""

    index: int
    predicted: str
    confidence: float  # probability of the given label, by a model that has not seen the image
    predicted_confidence: float


@dataclass(frozen=True)
class Outlier:
    """An image that is far from all others of its class."""

    index: int
    distance: float  # mean cosine distance to the nearest neighbours in its class
    typical: float  # the class's median of the same


def out_of_fold(
    dataset: Dataset, embeddings: Array, groups: Sequence[Group], seed: int = 0
) -> NDArray[np.float32] | None:
    """Probabilities of the classes, (N, C), each by a model fitted without the image, its group and its copies.

    NaN where an image has no embedding, or a class is in one fold alone. None where no two folds can be made.
    """
    labels = dataset.labels
    usable = np.flatnonzero(np.isfinite(embeddings).all(axis=1))
    units = _units(dataset, groups)[usable]
    folds = min(FOLDS, len(set(units.tolist())))
    if folds < 2:
        return None
    x, y = _unit_rows(embeddings[usable]), labels[usable]
    likely = np.full((len(labels), len(dataset.classes)), np.nan, np.float32)
    places = _folds(y, units, folds, seed)
    for fold in range(folds):
        train, held = np.flatnonzero(places != fold), np.flatnonzero(places == fold)
        known = np.unique(y[train])
        if len(known) > 1:
            rows = np.zeros((len(held), len(dataset.classes)), np.float32)
            rows[:, known] = _fitted(x[train], y[train], known, x[held])
            rows[~np.isin(y[held], known)] = np.nan  # its class was never seen: nothing can be said
            likely[usable[held]] = rows
    return likely


def label_errors(dataset: Dataset, probabilities: Array) -> list[Suspect]:
    """Images that a model which has not seen them puts into another class, the least likely label first.

    Confident learning: a class is claimed for an image where its probability reaches the mean probability that the
    class's own images have; the likeliest claimed class, if it is not the given one, makes the image a suspect.
    Source: Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels".
    """
    labels = dataset.labels
    usable = np.flatnonzero(np.isfinite(probabilities).all(axis=1))
    own = probabilities[usable, labels[usable]]
    sums = np.bincount(labels[usable], own, len(dataset.classes))
    counts = np.bincount(labels[usable], minlength=len(dataset.classes))
    thresholds = np.where(counts, sums / np.maximum(counts, 1), np.inf)
    suspects = []
    for i, confidence in zip(usable.tolist(), own.tolist(), strict=True):
        row = probabilities[i]
        claimed = np.where(row >= thresholds, row, -1)
        best = int(claimed.argmax())
        if claimed[best] >= 0 and best != labels[i]:
            suspects.append(Suspect(i, dataset.classes[best], confidence, float(row[best])))
    return sorted(suspects, key=lambda suspect: (suspect.confidence, suspect.index))


def outliers(dataset: Dataset, embeddings: Array, groups: Sequence[Group]) -> list[Outlier]:
    """Images far from their nearest neighbours in their class, the farthest (against its class's median) first.

    Far: the distance's logarithm is more than 3.5 robust standard deviations (1.4826 times the median absolute
    deviation) above the median.
    Copies of an image are not its neighbours.
    """
    units = _units(dataset, groups)
    usable = np.isfinite(embeddings).all(axis=1)
    labels = dataset.labels
    far_ones = []
    for number in range(len(dataset.classes)):
        rows = np.flatnonzero(usable & (labels == number))
        if len(rows) < _FEW:
            continue
        distances = _neighbour_distances(_unit_rows(embeddings[rows]), units[rows])
        median = float(np.median(distances))
        logs = np.log(np.maximum(distances, 1e-9))  # distances have a long tail, their logarithms hardly one
        deviation = 1.4826 * float(np.median(np.abs(logs - np.median(logs))))
        far = logs > np.median(logs) + _FAR * max(deviation, 1e-6)
        far_ones += [
            Outlier(int(i), float(d), median)
            for i, d in zip(rows[far], distances[far], strict=True)
            if math.isfinite(d)
        ]
    return sorted(far_ones, key=lambda one: (-one.distance / max(one.typical, 1e-6), one.index))


def _neighbour_distances(rows: Array, units: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean cosine distance of each row to its nearest ones of other units, (N,)."""
    count = min(NEIGHBOURS, len(rows) - 1)
    means = np.empty(len(rows))
    for top in range(0, len(rows), _BLOCK):
        distances = 1 - rows[top : top + _BLOCK] @ rows.T
        distances[units[top : top + _BLOCK, None] == units[None]] = np.inf
        nearest = np.partition(distances, count - 1, axis=1)[:, :count]
        neighbours = np.isfinite(nearest)
        sums = np.where(neighbours, nearest, 0).sum(axis=1)
        means[top : top + _BLOCK] = sums / np.maximum(neighbours.sum(axis=1), 1)
    return means


def _fitted(x: Array, y: NDArray[np.int64], known: NDArray[np.int64], held: Array) -> Array:
    """Probabilities of the known classes for the rows held out."""
    if len(known) <= _ONE_BY_ONE:
        from sklearn.linear_model import LogisticRegression

        scale = math.sqrt(x.shape[1])  # rows of length 1 have entries of 1 / sqrt(D); C is meant for 1
        with one_blas_thread():
            model = LogisticRegression(C=0.01, max_iter=300, tol=1e-3).fit(x * scale, y)
            likely: Array = model.predict_proba(held * scale)
        return likely
    order = np.argsort(y, kind="stable")
    starts = np.searchsorted(y[order], known)
    means = _unit_rows(np.add.reduceat(x[order], starts, axis=0))  # (C, D)
    return softmax(_SHARPNESS * (held @ means.T))


def _folds(y: NDArray[np.int64], units: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """The fold of each image, (N,): each class's units are dealt out in turn, a unit by the class of its first."""
    order = np.random.default_rng(seed).permutation(len(y))
    _, first, inverse = np.unique(units[order], return_index=True, return_inverse=True)
    classes = y[order][first]  # of each unit
    dealt = np.empty(len(first), np.int64)
    dealt[np.lexsort((first, classes))] = np.arange(len(first)) % folds
    places = np.empty(len(y), np.int64)
    places[order] = dealt[inverse]
    return places


def _unit_rows(rows: Array) -> Array:
    lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    unit: Array = rows / lengths
    return unit


def _units(dataset: Dataset, groups: Sequence[Group]) -> NDArray[np.int64]:
    """A number for each image, the same for those of one group and for copies, (N,)."""
    joined = Unions.of(dataset.examples, groups)
    return np.array([joined.root(i) for i in range(len(dataset.examples))], np.int64)
