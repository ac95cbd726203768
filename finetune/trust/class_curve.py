"""How much better each class is recognised with more images of it, by a quick classifier that is fitted to fewer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune.trust.novelty import principal, shrunk_covariance, unit
from models.runtime import Array

SHARES = (0.25, 0.5, 1.0)  # of the images of a class
FEWEST = 8  # images of a class that a curve is made of
MOST = 20  # classes, the weakest
_FOLDS, _DRAWS = 5, 8
_SAMPLES = 200
# Deviation of how much a doubling changes the logit of the error from one kind of classifier to another: regressions
# against the discriminant here, on features of photos of clothes, of things and of glyphs.
_OTHER = 0.25

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Slope:
    """By how much the logit of a class's error falls with each doubling of its images, and the standard error."""

    slope: float
    error: float


def class_slopes(embeddings: Array, y: Rows, groups: Rows, seed: int = 0) -> dict[int, Slope]:
    """The slope of each of the weakest classes with enough images; embeddings (N, D), classes and groups (N,).

    In each of five folds a linear discriminant (Fisher 1936) on principal components is fitted to the others, with a
    fourth, half and all of the images of one class and all of the other classes'; the held-out images of that class are
    answered. Images of a group are held out together. Errors fall with the logarithm of the images along a line in
    logits; its standard error is that over resampled images, and of what other classifiers make of it. Some of the fall
    is that a class with more images is named more often.
    """
    counts = np.bincount(y)
    x = unit(embeddings)
    x = x - x.mean(axis=0)
    z = x @ principal(x, seed)
    dice = np.random.default_rng(seed)
    fold = _folds(y, groups, dice)
    right: dict[int, list[list[NDArray[np.float64]]]] = {
        c: [[] for _ in SHARES] for c in np.flatnonzero(counts >= FEWEST).tolist()
    }
    for number in range(_FOLDS):
        learned, held = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if not len(held) or not len(learned):
            continue
        _answer(z, y, learned, held, right, dice)
    curves = {c: np.stack([np.concatenate(part) for part in parts]) for c, parts in right.items() if parts[0]}
    weakest = sorted(curves, key=lambda c: (float(curves[c][-1].mean()), c))[:MOST]
    return {c: _slope(curves[c], dice) for c in weakest}


def _folds(y: Rows, groups: Rows, dice: np.random.Generator) -> Rows:
    """A fold for each image: groups are dealt out class by class."""
    _, place = np.unique(groups, return_inverse=True)
    order = dice.permutation(place.max() + 1)
    first = np.zeros(place.max() + 1, np.int64)
    first[place[::-1]] = y[::-1]  # the class of a group's first image
    order = order[np.argsort(first[order], kind="stable")]
    of_group = np.empty(len(order), np.int64)
    of_group[order] = np.arange(len(order)) % _FOLDS
    return np.asarray(of_group[place])


def _answer(
    z: NDArray[np.float64],
    y: Rows,
    learned: Rows,
    held: Rows,
    right: dict[int, list[list[NDArray[np.float64]]]],
    dice: np.random.Generator,
) -> None:
    """Add to `right` how often the held-out images of each class are answered so, at each share of its images."""
    classes, place, counts = np.unique(y[learned], return_inverse=True, return_counts=True)
    means = np.zeros((len(classes), z.shape[1]))
    np.add.at(means, place, z[learned])
    means /= counts[:, None]
    within, _ = shrunk_covariance(z[learned] - means[place])
    within += 1e-3 * max(float(np.trace(within)) / len(within), 1e-12) * np.eye(len(within))
    inverse = np.linalg.inv(within)
    towards = z[held] @ inverse  # (M, R)

    def logits(middle: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        return np.asarray(towards @ middle - middle @ inverse @ middle / 2 + np.log(count))

    table = np.stack([logits(mean, int(count)) for mean, count in zip(means, counts, strict=True)], axis=1)
    for index, label in enumerate(classes.tolist()):
        mine = y[held] == label
        if label not in right or not mine.any() or len(classes) < 2:
            continue
        others = np.delete(table, index, axis=1).max(axis=1)
        own = learned[place == index]
        for part, share in zip(right[label], SHARES, strict=True):
            count = max(1, round(share * len(own)))
            draws = 1 if count == len(own) else _DRAWS
            answers = [
                logits(z[dice.permutation(own)[:count]].mean(axis=0), count)[mine] > others[mine]
                for _ in range(draws)
            ]
            part.append(np.mean(answers, axis=0))


def _slope(right: NDArray[np.float64], dice: np.random.Generator) -> Slope:
    """Of a curve (shares, N): how often each image was answered rightly."""
    x = np.log2(SHARES)
    x = (x - x.mean()) / np.square(x - x.mean()).sum()
    images = right.shape[1]
    some = dice.integers(0, images, (_SAMPLES, images))
    samples = right[:, some].mean(axis=2)  # (shares, samples)

    def slopes(share: NDArray[np.float64]) -> NDArray[np.float64]:
        wrong = (images * (1 - share) + 0.5) / (images + 1)  # neither 0 nor 1
        return np.asarray(x @ np.log(wrong / (1 - wrong)))

    spread = float(slopes(samples).std())
    return Slope(max(0.0, -float(slopes(right.mean(axis=1)[:, None])[0])), float(np.hypot(spread, _OTHER)))
