"""Every number of the report, computed once from the findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune.report import class_growth, classification, comparing, judging, regression, weak_spots
from finetune.report.calibrating import Calibration, calibrate
from finetune.report.findings import Findings, Floats, Growth, History, Ints, Previous, Rejection
from finetune.report.learning_curve import growth
from finetune.report.multilabel import Multilabel, measure_labels
from finetune.trust.measures import Share, accuracy, auroc

TOP = 5


@dataclass(frozen=True)
class RejectionMeasure:
    """What the threshold for "none of these" does to the measured images."""

    auroc: float | None
    known_rejected: Share
    unknown_rejected: Share | None
    kept: Share  # accuracy on the measured images that are not rejected
    rejected_wrong: int  # rejected images that would have been answered wrongly


@dataclass(frozen=True)
class Classification:
    """How good a classifier is. `truth`, `predicted` and `confidence` are (N,), of the finished file."""

    truth: Ints
    predicted: Ints
    confidence: Floats
    broken: int  # images that got an answer with NaN or infinity
    accuracy: Share
    top5: Share | None  # None where there are no more than five classes
    baseline: Share  # of answering the most frequent class always
    classes: tuple[classification.ClassMeasure, ...]
    macro: classification.Macro
    confusions: tuple[classification.Confusion, ...]
    weak_spots: tuple[weak_spots.WeakSpot, ...]
    growths: tuple[class_growth.ClassGrowth, ...]  # what more photos of a class would bring, the most first
    before: Calibration | None
    after: Calibration | None  # None where no answer holds numbers
    leaks: comparing.Leaks | None
    comparison: comparing.Comparison | None
    rejection: RejectionMeasure | None


@dataclass(frozen=True)
class Regression:
    """How far off a regression is."""

    errors: regression.RegressionMeasure
    coverage: regression.Coverage | None
    without_leaks: regression.RegressionMeasure | None
    comparison: regression.ErrorComparison | None


@dataclass(frozen=True)
class Summary:
    """All numbers of the report; what was not measured is None."""

    classification: Classification | None
    multilabel: Multilabel | None
    regression: Regression | None
    fit: judging.Judgement | None
    balance: str | None
    growth: Growth | None


def summarise(findings: Findings) -> Summary:
    """Compute every number of the report."""
    train = findings.counts.get("train")
    classifies = findings.task == "classification"
    return Summary(
        _classification(findings) if findings.measured and classifies else None,
        measure_labels(findings) if findings.measured and findings.task == "multilabel" else None,
        _regression(findings) if findings.measured and findings.task == "regression" else None,
        _fit(findings, findings.history) if findings.history and len(findings.history.train_loss) else None,
        judging.judge_balance(train, findings.classes) if classifies and train is not None else None,
        growth(findings.learning_curve) if findings.learning_curve else None,
    )


def _fit(findings: Findings, history: History) -> judging.Judgement:
    images = findings.split_images.get("val") if history.val_images is None else history.val_images
    return judging.judge_fit(history, images)


def _classification(findings: Findings) -> Classification:
    truth, raw = _known(findings.truth), _known(findings.after)
    probabilities = np.nan_to_num(raw, nan=-1, posinf=-1, neginf=-1)
    predicted = probabilities.argmax(axis=1).astype(np.int64)
    confidence = np.clip(probabilities[np.arange(len(truth)), predicted], 0, 1)
    classes = classification.per_class(truth, predicted, findings.classes)
    right = accuracy(truth, predicted)
    return Classification(
        truth,
        predicted,
        confidence,
        int((~np.isfinite(raw)).any(axis=1).sum()),
        right,
        classification.within(probabilities, truth, TOP) if len(classes) > TOP else None,
        Share(max(one.images for one in classes), len(truth)),
        classes,
        classification.macro(classes),
        classification.confusions(truth, predicted, confidence),
        weak_spots.find_weak_spots(truth, predicted, confidence, findings.classes, findings.traits),
        class_growth.class_growths(findings.class_slopes, classes, findings.counts["train"])
        if "train" in findings.counts
        else (),
        calibrate(findings.before, truth) if findings.before is not None else None,
        calibrate(raw, truth),
        comparing.leak_effect(truth, predicted, findings.leaks) if findings.leaks is not None else None,
        _comparison(truth, predicted, findings.previous) if findings.previous else None,
        _rejection(findings.rejection, truth == predicted) if findings.rejection else None,
    )


def _comparison(truth: Ints, predicted: Ints, previous: Previous) -> comparing.Comparison:
    rows = np.arange(len(truth)) if previous.rows is None else previous.rows
    return comparing.compare(truth[rows], predicted[rows], _known(previous.predicted)[rows])


def _rejection(rejection: Rejection, right: np.ndarray[Any, np.dtype[np.bool_]]) -> RejectionMeasure:
    refused = rejection.known > rejection.threshold
    area, caught = rejection.auroc, None
    if rejection.unknown is not None and len(rejection.unknown):
        area = auroc(rejection.known, rejection.unknown) if area is None else area
        caught = Share(int((rejection.unknown > rejection.threshold).sum()), len(rejection.unknown))
    return RejectionMeasure(
        area,
        Share(int(refused.sum()), len(refused)),
        caught,
        Share(int((right & ~refused).sum()), int((~refused).sum())),
        int((refused & ~right).sum()),
    )


def _regression(findings: Findings) -> Regression:
    truth, values = _known(findings.truth), _known(findings.values)
    leaked = findings.leaks if findings.leaks is not None else np.zeros(0, np.int64)
    clean = np.setdiff1d(np.arange(len(truth)), leaked)
    return Regression(
        regression.measure_regression(truth, values),
        regression.coverage(truth, findings.interval, chosen=findings.measured_on != "test")
        if findings.interval
        else None,
        regression.measure_regression(truth[clean], values[clean]) if len(leaked) and len(clean) else None,
        regression.compare_errors(truth, values, _known(findings.previous.predicted))
        if findings.previous
        else None,
    )


def _known(array: Any) -> Any:
    """An array that `Findings.measured` promises."""
    assert array is not None
    return array
