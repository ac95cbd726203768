"""What finished jobs say: verdicts, mistakes, and whether one is better than another."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from finetune.report import answers
from finetune.report.comparing import compare
from models.errors import ConflictError
from service.jobs.answers import Comparison, Mistake, Verdict
from service.jobs.images import Images
from service.jobs.jobs import Jobs

_Z = 1.96  # of 95 % confidence


def verdict_of(report: dict[str, Any]) -> Verdict:
    """What a report comes to."""
    verdict, classification = report["verdict"], report["classification"]
    accuracy = classification["accuracy"] if classification else None
    return {
        "sentences": [verdict["figure"], verdict["trust"], verdict["advice"]],
        "trusted": verdict["trusted"],
        "concerns": verdict["concerns"],
        "accuracy": accuracy and accuracy["value"],
        "interval": accuracy and accuracy["interval"],
        "images": accuracy["images"] if accuracy else 0,
        "measured_on": report["data"]["measured_on"],
    }


def mistakes_of(images: Images, dataset: str, report: dict[str, Any]) -> list[Mistake]:
    """Measured images that a model takes for something else, the surest first."""
    here = {row["id"]: row["name"] for row in images.images(dataset)}
    return [
        {
            "image": one.id,
            "name": here.get(one.id, one.id),
            "here": one.id in here,
            "truth": one.truth,
            "predicted": one.predicted,
            "probability": one.probability,
        }
        for one in answers.mistakes_of(report)
    ]


def comparison_of(report: dict[str, Any], other: dict[str, Any]) -> Comparison:
    """Two models on the images that both have measured, under the same class.

    The interval of the difference of two proportions on the same images: Agresti and Min 2005, "Simple improved
    confidence intervals for comparing matched proportions", which adds half an answer to each of the four counts.
    """
    before = {one.id: one for one in answers.answers_of(other)}
    rows = [
        (one.truth, one.predicted, before[one.id].predicted)
        for one in answers.answers_of(report)
        if one.id in before and before[one.id].truth == one.truth
    ]
    if not rows:
        return {
            "images": 0,
            "accuracy": None,
            "other_accuracy": None,
            "difference": None,
            "interval": None,
            "p": None,
            "significant": False,
            "sentence": "No image was measured by both, so nothing can be said about which one is better.",
        }
    every = {name: i for i, name in enumerate(dict.fromkeys(name for row in rows for name in row))}
    truth, new, previous = (np.array([every[row[i]] for row in rows], np.int64) for i in range(3))
    found = compare(truth, new, previous)
    low, high = _difference(found.only_new, found.only_previous, len(rows))
    return {
        "images": len(rows),
        "accuracy": found.new.value,
        "other_accuracy": found.previous.value,
        "difference": found.new.value - found.previous.value,
        "interval": [low, high],
        "p": found.p,
        "significant": found.significant,
        "sentence": found.words(),
    }


def report_of(jobs: Jobs, job: str) -> dict[str, Any]:
    """The report of a job.

    Raises:
        MissingError: there is no such job.
        ConflictError: it has none yet.
    """
    row, report = jobs.row(job), jobs.report(job)
    if report is None:
        raise ConflictError(
            f"the job {row['name']!r} is {row['state']} and has no report. Wait until it is finished."
        )
    return report


def _difference(better: int, worse: int, images: int) -> tuple[float, float]:
    b, c, n = better + 0.5, worse + 0.5, images + 2.0
    middle, spread = (b - c) / n, _Z * math.sqrt(max(0.0, b + c - (b - c) ** 2 / n)) / n
    return max(-1.0, middle - spread), min(1.0, middle + spread)
