"""Which images each model learns from, where all are to be learned from: parts are held out in turn.

What is shipped has learned from every image; what is said of it comes from models like it, each asked about images that
neither its weights nor its settings know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.classifiers.folds import LARGE, make_folds, make_plain_folds
from finetune.dataset.examples import Dataset
from finetune.heads.running import TopOutputs, run_top
from finetune.heads.top import Top
from finetune.job.recipe import Recipe
from models.errors import ModelError
from models.runtime import Array

FEW = (
    100  # images a class below which those that would be held out are missed, however many classes there are
)
_MANY = 50_000  # images from which on one split tells enough of any set

_WORTH = 0.02  # of the loss, that another epoch than the first has to gain where one fold is all

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """A model like the shipped one, that has learned from the images at `learned` and answers for those at `held`.

    Both are places among the prepared images. Where one split is all, it is the shipped model itself.
    """

    top: Top
    learned: Places
    held: Places


@dataclass(frozen=True)
class Held:
    """What models gave for images that they have not learned from: (M, ...) each, in the order of the images.

    `rows`: places among the prepared images, each once. `fold`: which model gave it. Temperature, threshold and the
    figures of a cross-fitted run are made of these.
    """

    rows: Places
    fold: NDArray[np.int64]
    outputs: TopOutputs


def crosses(dataset: Dataset, recipe: Recipe) -> bool:
    """Whether images are held out in turn, and all learned from in the end.

    Not where the folders name images for validation, where parts were asked for, or where there are so many images
    that those held out are not missed.
    """
    splits = {example.split for example in dataset.examples}
    if "val" in splits or recipe.measure == "split" or recipe.task not in ("classification", "regression"):
        return False
    if recipe.measure == "cross-fitting":
        return True
    if recipe.val != Recipe.val or recipe.test not in (Recipe.test, 0.0):
        return False
    learned = sum(example.split != "test" for example in dataset.examples)
    return learned <= max(LARGE, min(_MANY, FEW * len(dataset.classes)))


def parts_held_out(
    targets: NDArray[Any], groups: Places, rows: Places, classifies: bool, seed: int
) -> list[tuple[Places, Places]]:
    """Pairs of places (to learn from, to hold out) among the images at `rows`; none where nothing can be held out.

    Of a large set a fifth is held out once, in two halves, each of which chooses for the other.
    """
    y, together = targets[rows], groups[rows]
    folds = make_folds(y, together, seed) if classifies else make_plain_folds(len(y), together, seed)
    if len(folds) == 1:
        ((learned, held),) = folds
        first = np.isin(np.unique(together[held], return_inverse=True)[1] % 2, 0)
        folds = [(learned, half) for half in (held[first], held[~first]) if len(half)]
    return [(rows[learned], rows[held]) for learned, held in folds]


def require_apart(folds: Sequence[Fold], groups: Places) -> None:
    """See that no model is asked about an image that it, or a copy or companion of it, was learned from.

    Raises:
        ModelError: one is; figures would be too good.
    """
    for number, fold in enumerate(folds):
        both = np.isin(groups[fold.held], groups[fold.learned])
        if both.any():
            raise ModelError(
                f"part {number + 1}: {int(both.sum())} of {len(both)} images that were held out belong to images that "
                "its model has learned from; expected none. The figures would be too good: report this."
            )


def held_outputs(folds: Sequence[Fold], features: Array) -> Held:
    """Let each model answer for the images that it has not learned from; `features` (N, ...) of all images."""
    rows = np.concatenate([fold.held for fold in folds])
    number = np.repeat(np.arange(len(folds)), [len(fold.held) for fold in folds])
    outputs = [run_top(fold.top, features[fold.held]) for fold in folds]
    order = np.argsort(rows, kind="stable")
    return Held(
        rows[order],
        number[order],
        TopOutputs(
            np.concatenate([one.embedding for one in outputs])[order],
            np.concatenate([one.logits for one in outputs])[order],
        ),
    )


def best_epoch(
    curves: Sequence[NDArray[np.float64]], counts: Sequence[int], without: int | None = None
) -> int:
    """The epoch with the lowest mean loss over the folds but one, where it is clearly below that of epoch 0.

    `curves`: for each fold its losses (epochs + 1,) of the images held out, which may differ in length, first of what
    training began with; `counts`: how many images those are. Of few images the lowest of many losses is low by chance:
    another epoch than 0 is taken where its gain is above twice its standard error over the folds, or of one fold above
    a fiftieth of the loss.
    """
    asked = [i for i in range(len(curves)) if i != without] or list(range(len(curves)))
    shortest = min(len(curves[i]) for i in asked)
    table, weights = np.array([curves[i][:shortest] for i in asked]), np.array([counts[i] for i in asked])
    epoch = int(np.argmin(np.average(table, axis=0, weights=weights)))
    if not epoch or not np.isfinite(table[:, 0]).all():  # training began with nothing
        return epoch
    gains = table[:, 0] - table[:, epoch]
    gain = float(np.average(gains, weights=weights))
    if len(gains) == 1:
        return epoch if gain > _WORTH * table[0, 0] else 0
    return epoch if gain > 2 * float(gains.std(ddof=1)) / math.sqrt(len(gains)) else 0
