"""Labels of which several may hold: their temperature and thresholds, and how good their probabilities are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.trust.calibration import fit_temperature
from finetune.trust.measures import Share, mean_interval

BINS = 10  # of a reliability curve
HALF = 0.5  # the threshold where nothing better is known
FEWEST = 10  # validation images with a label, and without it, below which its threshold is not moved
_PARTS = 5  # of a cross-fitting

Table = NDArray[np.bool_]  # (N, labels): which labels hold


@dataclass(frozen=True)
class LabelMeasure:
    """How well one label is told; NaN where a number does not exist: no image has it, or no answer names it."""

    name: str
    images: int  # that have it
    answers: int  # that are answered with it
    correct: int
    threshold: float
    precision: float
    recall: float
    f1: float
    average_precision: float
    calibration: float  # expected calibration error, 0 to 1


@dataclass(frozen=True)
class MultilabelMeasure:
    """How good probabilities of labels are. Means over labels count those that some image has, each alike."""

    labels: tuple[LabelMeasure, ...]
    all_right: Share  # images of which every label is right
    none: Share  # what answering no label at all would reach of that
    precision: float  # of all answers together
    recall: float
    f1: float
    mean_f1: float
    mean_average_precision: float
    calibration: float  # over all labels of all images
    log_loss: float  # mean over labels of -ln(probability of what is true), in nats


def sigmoid(logits: NDArray[Any], temperature: float = 1.0) -> NDArray[np.float64]:
    """1 / (1 + exp(-logits / temperature)), without overflow."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(-np.abs(scaled))
    return np.asarray(np.where(scaled >= 0, 1.0, powers) / (1.0 + powers))


def label_entropy(logits: NDArray[Any], holds: NDArray[Any], weights: NDArray[Any] | None = None) -> float:
    """Mean over images and labels of -ln of the probability that is given to the truth, in nats.

    Of logits and truth (N, labels); `weights` (labels,) multiply the columns.
    """
    scores, truth = np.asarray(logits, np.float64), np.asarray(holds, np.float64)
    losses = np.logaddexp(0.0, scores) - scores * truth
    return float((losses if weights is None else losses * weights).mean())


def label_temperature(logits: NDArray[Any], holds: NDArray[Any]) -> float:
    """The temperature of sigmoid(logits / T) that fits held-out images, or 1 where nothing shows that it helps others.

    Of (N, labels); one for all labels, as `calibration.fit_temperature` finds it, for a label is a choice of two
    classes with the logits 0 and z. Each of up to five parts of the images is judged with the temperature of the
    others; what they gain, image by image, has to be above 0 with 95 % confidence.

    Raises:
        InputError: no image, or shapes that do not go together.
        NumericsError: the logits hold NaN or infinity.
    """
    scores, truth = np.asarray(logits, np.float64), np.asarray(holds, np.float64)
    temperature = _fitted(scores, truth)
    parts = min(_PARTS, len(scores))
    if parts < 2:
        return 1.0
    part = np.arange(len(scores)) % parts
    gains = np.empty(len(scores))
    for number in range(parts):
        held = part == number
        fitted = _fitted(scores[~held], truth[~held])
        gains[held] = _losses(scores[held], truth[held]) - _losses(scores[held] / fitted, truth[held])
    return temperature if mean_interval(gains)[0] > 0 else 1.0


def label_thresholds(probabilities: NDArray[Any], holds: NDArray[Any]) -> tuple[float, ...]:
    """From which probability on each label counts as holding: where F1 on held-out images is highest.

    Of (N, labels). A threshold stands midway between two probabilities and never above 1/2: of probabilities that are
    true the best is half the F1 that it reaches (Lipton et al. 2014, "Optimal thresholding of classifiers to maximize
    F1 measure"), and what few images say beyond that is chance. It stays at 1/2 where fewer than 10 images have the
    label or are without it, and where a threshold of four fifths of the images makes the F1 of the rest no better.
    """
    columns = zip(np.asarray(probabilities, np.float64).T, np.asarray(holds, bool).T, strict=True)
    return tuple(_threshold(likely, truth) for likely, truth in columns)


def average_precision(truth: NDArray[Any], scores: NDArray[Any]) -> float:
    """The mean over the images that have a label of the precision down to each, in the order of the scores (N,).

    NaN where no image has it. Equal scores count together. It is the area under the steps of precision over recall:
    sum of (recall_k - recall_(k-1)) precision_k.
    """
    holds = np.asarray(truth, bool)
    if not holds.any():
        return float("nan")
    order = np.argsort(-np.asarray(scores), kind="stable")
    ordered, hits = np.asarray(scores)[order], np.cumsum(holds[order])
    last = np.flatnonzero(np.append(np.diff(ordered) != 0, True))  # of each run of equal scores
    found, answers = hits[last], last + 1
    gains = np.diff(np.concatenate([[0], found]))
    return float((gains * found / answers).sum() / holds.sum())


def mean_average_precision(truth: NDArray[Any], scores: NDArray[Any]) -> float:
    """The mean of `average_precision` over the labels that some image has, of (N, labels)."""
    areas = [average_precision(a, b) for a, b in zip(np.asarray(truth).T, np.asarray(scores).T, strict=True)]
    known = [area for area in areas if np.isfinite(area)]
    return float(np.mean(known)) if known else float("nan")


def measure_multilabel(
    truth: NDArray[Any], probabilities: NDArray[Any], thresholds: Sequence[float], names: Sequence[str]
) -> MultilabelMeasure:
    """Measure probabilities (N, labels) against which labels hold (N, labels), at thresholds (labels,)."""
    holds = np.asarray(truth, bool)
    likely = np.asarray(probabilities, np.float64)
    answered = likely >= np.asarray(thresholds)
    labels = tuple(
        _measured(name, holds[:, i], likely[:, i], answered[:, i], thresholds[i])
        for i, name in enumerate(names)
    )
    seen = [one for one in labels if one.images]
    correct, answers, images = int((holds & answered).sum()), int(answered.sum()), int(holds.sum())
    of_truth = np.where(holds, likely, 1 - likely)
    return MultilabelMeasure(
        labels,
        Share(int((holds == answered).all(axis=1).sum()), len(holds)),
        Share(int((~holds).all(axis=1).sum()), len(holds)),
        _ratio(correct, answers),
        _ratio(correct, images),
        _ratio(2 * correct, answers + images),
        float(np.mean([one.f1 for one in seen])) if seen else float("nan"),
        float(np.mean([one.average_precision for one in seen])) if seen else float("nan"),
        label_calibration_error(holds.ravel(), likely.ravel()),
        float(-np.log(np.maximum(of_truth, np.finfo(np.float32).tiny)).mean()),
    )


def label_calibration_error(truth: NDArray[Any], probabilities: NDArray[Any]) -> float:
    """The mean gap between probability and share of (N,), over ten equally wide bins by their images; NaN of none."""
    if not len(truth):
        return float("nan")
    place = np.clip((np.asarray(probabilities) * BINS).astype(np.int64), 0, BINS - 1)
    said = np.bincount(place, probabilities, BINS)
    true = np.bincount(place, truth, BINS)
    return float(np.abs(said - true).sum() / len(truth))


def _measured(
    name: str, holds: Table, likely: NDArray[np.float64], answered: Table, threshold: float
) -> LabelMeasure:
    images, answers, correct = int(holds.sum()), int(answered.sum()), int((holds & answered).sum())
    return LabelMeasure(
        name,
        images,
        answers,
        correct,
        float(threshold),
        _ratio(correct, answers),
        _ratio(correct, images),
        _ratio(2 * correct, answers + images),
        average_precision(holds, likely),
        label_calibration_error(holds, likely),
    )


def _losses(scores: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """-ln of the probability of the truth, in nats: of each image (N,) the mean over its labels."""
    return np.asarray((np.logaddexp(0.0, scores) - scores * truth).mean(axis=1))


def _fitted(scores: NDArray[np.float64], truth: NDArray[Any]) -> float:
    pairs = np.stack([np.zeros(scores.size), scores.ravel()], axis=1)
    return fit_temperature(pairs, truth.ravel().astype(np.int64))


def _threshold(likely: NDArray[np.float64], holds: Table) -> float:
    if min(int(holds.sum()), int((~holds).sum())) < FEWEST:
        return HALF
    # Dealt out so that each part has its share of the images that have the label.
    part = np.empty(len(holds), np.int64)
    part[np.lexsort((likely, holds))] = np.arange(len(holds)) % _PARTS
    answered = np.zeros(len(holds), bool)
    for number in range(_PARTS):
        held = part == number
        answered[held] = likely[held] >= _best(likely[~held], holds[~held])
    return _best(likely, holds) if _f1(holds, answered) > _f1(holds, likely >= HALF) else HALF


def _best(likely: NDArray[np.float64], holds: Table) -> float:
    """The threshold with the highest F1, at most 1/2; of equally good ones that nearest to it."""
    values = np.unique(likely)
    middles = np.concatenate([[values[0] / 2], (values[1:] + values[:-1]) / 2]).astype(np.float32)
    borders = [*(float(middle) for middle in middles if middle < HALF), HALF]
    return max(borders, key=lambda border: (_f1(holds, likely >= border), border))


def _f1(holds: Table, answered: Table) -> float:
    return _ratio(2 * int((holds & answered).sum()), int(answered.sum() + holds.sum()))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
