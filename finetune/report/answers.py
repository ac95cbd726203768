"""The answers that a report holds, read again: mistakes to look through, and an earlier run to compare with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feature_extraction.items import printable
from finetune.dataset.label_cells import combination
from finetune.report.findings import Previous
from models.errors import InputError
from models.files import csv_bytes, write_atomically

MISTAKES = "mistakes.csv"  # beside the report
_COLUMNS = ("id", "label", "predicted", "probability", "correction")


@dataclass(frozen=True)
class Answer:
    """What was answered for a measured image. `id` is its name within the source."""

    id: str
    truth: str
    predicted: str
    probability: float


def answers_of(report: Mapping[str, Any]) -> list[Answer]:
    """The answers in a report's numbers, in its order; none of a regression.

    Of several labels `truth` and `predicted` are all of them as one text, and a wrong answer has for its probability
    how far the worst of its labels is beyond the threshold.
    """
    if several := dict(report).get("multilabel"):
        return [
            Answer(one["id"], combination(one["truth"]), combination(one["answered"]), one["sureness"])
            for one in several["images"]
        ]
    classification, names = report["classification"], report["data"]["classes"]
    return [
        Answer(one["id"], names[one["truth"]], names[one["predicted"]], one["probability"])
        for one in (classification["images"] if classification else ())
    ]


def mistakes_of(report: Mapping[str, Any]) -> list[Answer]:
    """Those that are not the truth, the surest first."""
    wrong = [one for one in answers_of(report) if one.truth != one.predicted]
    return sorted(wrong, key=lambda one: -one.probability)


def write_mistakes(folder: Path, report: Mapping[str, Any]) -> None:
    """Write the mistakes as a table with an empty column `correction`, for a person to fill in and give back.

    Raises:
        OutputError: the disk is full or the folder is not writable.
    """
    rows = [
        (printable(one.id), one.truth, one.predicted, f"{one.probability:.4f}", "")
        for one in mistakes_of(report)
    ]
    write_atomically(folder / MISTAKES, csv_bytes(_COLUMNS, rows))


@dataclass(frozen=True)
class Earlier:
    """What an earlier run answered: names of classes by the ids of images."""

    name: str
    answers: Mapping[str, str]

    def previous(
        self, ids: Sequence[str], classes: Sequence[str], labels: Sequence[str] | None = None
    ) -> Previous | None:
        """Its answers for images, as indices of `classes`; those count that it measured too. None: it measured none.

        `labels`: where several may hold, those of each image as one text: 1 is an answer with the same, 0 another.
        """
        index = {label: i for i, label in enumerate(classes)}
        rows = np.flatnonzero([one in self.answers for one in ids])
        if labels is not None:
            same = [self.answers.get(one) == text for one, text in zip(ids, labels, strict=True)]
            return Previous(self.name, np.array(same, np.int64), rows) if len(rows) else None
        predicted = np.array([index.get(self.answers.get(one, ""), -1) for one in ids], np.int64)
        return Previous(self.name, predicted, rows) if len(rows) else None


def read_earlier(path: Path) -> Earlier:
    """What a run's report.json says that it answered.

    Raises:
        InputError: it cannot be read, or is no report of a classifier.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        answers, name = answers_of(report), f"the earlier run ({report['method']} on {report['model']})"
    except (OSError, ValueError, KeyError, TypeError, IndexError) as exc:
        raise InputError(
            f"{path}: no report of an earlier run ({exc}). Leave it in the folder that the run has written."
        ) from exc
    if not answers:
        raise InputError(f"{path}: holds no answers; expected the report of a classifier that was measured.")
    return Earlier(name, {one.id: one.predicted for one in answers})
