"""Where a classifier is right and where it is wrong: by class, by pairs of classes, by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finetune.report.findings import Floats, Ints
from finetune.trust.measures import Share


@dataclass(frozen=True)
class ClassMeasure:
    """One class. NaN where a number does not exist: no image of the class, or no answer that names it."""

    name: str
    images: int  # measured images of the class; "support"
    answers: int  # measured images that were taken for it
    correct: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Confusion:
    """Images of one class that were taken for another one."""

    truth: int
    predicted: int
    rows: tuple[int, ...]  # of the measured images, the most confident mistake first
    share: float  # of the images of class `truth`


@dataclass(frozen=True)
class Macro:
    """Means over the classes that have measured images, each class counting the same."""

    classes: int
    precision: float
    recall: float
    f1: float


def per_class(truth: Ints, predicted: Ints, names: tuple[str, ...]) -> tuple[ClassMeasure, ...]:
    """Precision, recall and F1 of each class, in the order of `names`; truth and predicted are indices (N,).

    precision = correct / answers, recall = correct / images, F1 = 2 correct / (answers + images).
    """
    classes = len(names)
    images = np.bincount(truth, minlength=classes)
    answers = np.bincount(predicted, minlength=classes)
    correct = np.bincount(truth[truth == predicted], minlength=classes)
    return tuple(
        ClassMeasure(name, n, a, c, _ratio(c, a), _ratio(c, n), _ratio(2 * c, a + n))
        for name, n, a, c in zip(names, images.tolist(), answers.tolist(), correct.tolist(), strict=True)
    )


def macro(classes: tuple[ClassMeasure, ...]) -> Macro:
    """Means over classes with images; a class that is never answered has precision 0 here, as in scikit-learn."""
    seen = [one for one in classes if one.images]
    if not seen:
        return Macro(0, *[float("nan")] * 3)
    rows = np.array([(one.precision, one.recall, one.f1) for one in seen])
    return Macro(len(seen), *np.nan_to_num(rows).mean(axis=0).tolist())


def confusion_matrix(truth: Ints, predicted: Ints, classes: int) -> Ints:
    """Counts int64 (classes, classes): rows are the true class, columns the answer."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def confusions(truth: Ints, predicted: Ints, confidence: Floats) -> tuple[Confusion, ...]:
    """The pairs that are mixed up, most images first, then the larger share of the class, then by index.

    `confidence` (N,) is the probability of the answer. Memory grows with the images, not with the classes squared.
    """
    pairs: dict[tuple[int, int], list[int]] = {}
    for row in confident_mistakes(truth, predicted, confidence).tolist():
        pairs.setdefault((int(truth[row]), int(predicted[row])), []).append(row)
    images = np.bincount(truth) if len(truth) else np.zeros(0, np.int64)
    mixed_up = (Confusion(t, p, tuple(rows), len(rows) / int(images[t])) for (t, p), rows in pairs.items())
    return tuple(sorted(mixed_up, key=lambda one: (-len(one.rows), -one.share, one.truth, one.predicted)))


def confident_mistakes(truth: Ints, predicted: Ints, confidence: Floats) -> Ints:
    """Rows of the wrong answers, the most confident first."""
    wrong = np.flatnonzero(truth != predicted)
    return wrong[np.argsort(-confidence[wrong], kind="stable")]


def within(probabilities: Floats, truth: Ints, best: int) -> Share:
    """How often the truth is among the `best` classes of `probabilities` (N, C) that are the most probable."""
    at = np.take_along_axis(probabilities, truth[:, None], axis=1)  # (N, 1)
    index = np.arange(probabilities.shape[1])
    # Of equal ones the lower index comes first.
    ahead = (probabilities > at) | ((probabilities == at) & (index < truth[:, None]))
    return Share(int((ahead.sum(axis=1) < best).sum()), len(truth))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
