"""report.html: one file that explains itself, and report.json beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from finetune.pages.environment import environment
from finetune.pages.formatting import flatten
from finetune.report import plots
from finetune.report.answers import write_mistakes
from finetune.report.findings import Findings
from finetune.report.matrix import matrix_drawing, matrix_table
from finetune.report.numbers import numbers
from finetune.report.pictures import MISTAKES, Picture, Pictures, Thumbnails, choose, pictures_at
from finetune.report.summary import Summary, summarise
from finetune.report.verdict import Verdict, judge
from models.files import write_atomically

PAGE, NUMBERS = "report.html", "report.json"
MOST_ROWS = 200  # of any table; report.json has them all
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Drawn:
    """What takes time of a page: it needs neither the finished file nor its proof."""

    drawings: Mapping[str, Markup | None]
    pictures: Pictures | tuple[Picture, ...] | None


def draw(findings: Findings, thumbnails: Thumbnails | None = None) -> Drawn:
    """The plots and pictures of a page; `thumbnails` as for `write_report`."""
    summary = summarise(findings)
    pictures = _pictures(findings, summary, thumbnails or (lambda row: None))
    return Drawn(_drawings(findings, summary), pictures)


def write_report(
    folder: Path, findings: Findings, thumbnails: Thumbnails | None = None, drawn: Drawn | None = None
) -> Path:
    """Write report.json, report.html and, of a classifier, mistakes.csv into `folder`; returns the path of the page.

    `thumbnails(row)` gives an image file (small, JPEG at best) of a measured image, or None; `drawn` what was drawn of
    the same findings already. The page is one file, requests nothing, runs no script, and stays below 3 MB however
    many classes and images there are.

    Raises:
        OutputError: the disk is full or the folder is not writable.
    """
    summary, verdict = _write_numbers(folder, findings)  # they need not wait until the page is drawn
    page = _render(findings, summary, verdict, drawn or draw(findings, thumbnails))
    write_atomically(folder / PAGE, page.encode(errors="replace"))  # file names may hold what is no Unicode
    return folder / PAGE


def write_numbers(folder: Path, findings: Findings) -> Path:
    """Write report.json into `folder`, and mistakes.csv of a classifier, without a page; returns its path.

    Raises:
        OutputError: the disk is full or the folder is not writable.
    """
    _write_numbers(folder, findings)
    return folder / NUMBERS


def _write_numbers(folder: Path, findings: Findings) -> tuple[Summary, Verdict]:
    summary = summarise(findings)
    verdict = judge(findings, summary)
    values = numbers(findings, summary, verdict)
    write_atomically(folder / NUMBERS, json.dumps(values, indent=1, allow_nan=False).encode())
    if summary.classification or summary.multilabel:
        write_mistakes(folder, values)
    return summary, verdict


def write_evaluation(path: Path, findings: Findings, thumbnails: Thumbnails | None = None) -> None:
    """Write the page about an evaluation alone into the file `path`; see `write_report`.

    Raises:
        OutputError: the disk is full or the folder is not writable.
    """
    summary = summarise(findings)
    page = _render(findings, summary, judge(findings, summary), draw(findings, thumbnails))
    write_atomically(path, page.encode(errors="replace"))


def _render(findings: Findings, summary: Summary, verdict: Verdict, drawn: Drawn) -> str:
    classification = summary.classification
    template = environment(HERE).get_template("report.html")
    page: str = template.render(
        findings=findings,
        classification=classification,
        labels=summary.multilabel,
        regression=summary.regression,
        summary=summary,
        verdict=verdict,
        most=MOST_ROWS,
        pictures=drawn.pictures,
        drawings=drawn.drawings,
        matrix=matrix_table(classification, findings.classes) if classification else None,
        worst=_worst_classes(summary),
        counts=_class_counts(findings),
        settings=flatten(findings.settings)[:MOST_ROWS],
        absent=list(_absent(findings, summary)),
    )
    return page


def _pictures(
    findings: Findings, summary: Summary, thumbnails: Thumbnails
) -> Pictures | tuple[Picture, ...] | None:
    """The images that the page shows; of labels those with the surest mistakes."""
    if summary.classification:
        return choose(findings, summary.classification, thumbnails)
    if summary.multilabel:
        return pictures_at([one.row for one in summary.multilabel.mistakes[:MISTAKES]], thumbnails)
    return None


def _drawings(findings: Findings, summary: Summary) -> dict[str, Markup | None]:
    """All plots by name; None where there is nothing to draw."""
    drawn: dict[str, Markup | None] = {}
    history, classification = findings.history, summary.classification
    if history and len(history.train_loss):
        drawn["loss"] = plots.curves(history, "loss")
        drawn["accuracy"] = plots.curves(history, "accuracy")
        drawn["rates"] = plots.rate_search(history.rate_search) if history.rate_search else None
    if classification:
        drawn["matrix"] = matrix_drawing(classification, findings.classes)
        if classification.after:
            before = None if findings.temperature == 1 else classification.before
            drawn["reliability"] = plots.reliability(before, classification.after)
            drawn["confidences"] = plots.confidences(classification.after)
        drawn["rejection"] = plots.rejection(findings.rejection) if findings.rejection else None
    if findings.learning_curve:
        images: dict[str, int] = {findings.measured_on: len(findings.ids)}
        drawn["learning"] = plots.learning(findings.learning_curve, images, findings.task)
        drawn["times"] = plots.fit_times(findings.learning_curve)
    if summary.regression and findings.truth is not None and findings.values is not None:
        truth, values = np.asarray(findings.truth, np.float64), np.asarray(findings.values, np.float64)
        drawn["scatter"] = plots.scatter(truth, values, findings.interval, findings.unit)
        drawn["residuals"] = plots.residuals(truth, values, findings.unit)
    return drawn


def _worst_classes(summary: Summary) -> list[tuple[int, Any]]:
    """Classes with their numbers, the lowest F1 first, those without measured images last."""
    if not summary.classification:
        return []
    numbered = list(enumerate(summary.classification.classes, 1))
    return sorted(numbered, key=lambda one: (one[1].images == 0, one[1].f1, one[0]))[:MOST_ROWS]


def _class_counts(findings: Findings) -> list[tuple[str, list[int]]]:
    """Name and images of each split of the classes with the fewest training images."""
    if not findings.classes or not findings.counts:
        return []
    first = next(iter(findings.counts.values()))
    order = np.argsort(findings.counts.get("train", first), kind="stable")[:MOST_ROWS].tolist()
    return [(findings.classes[i], [int(counted[i]) for counted in findings.counts.values()]) for i in order]


def _absent(findings: Findings, summary: Summary) -> Iterator[tuple[str, str]]:
    """What the report does not hold, and why."""
    if findings.evaluation:
        return
    classifies = findings.task == "classification"
    if not findings.measured:
        lost = "accuracy, confusions, calibration and numbers for each class"
        if findings.task == "regression":
            lost = "errors"
        yield "Results", f"there were no test images, so {lost} are not known."
    if findings.history is None:
        one_go = findings.method == "sklearn"
        yield (
            "Training curves",
            "this kind of model is fitted in one go, without epochs." if one_go else "none were recorded.",
        )
    elif findings.history.val_loss is None:
        yield "Validation curve", "there were no validation images."
    if findings.learning_curve is None:
        yield "Learning curve", "was not measured."
    if findings.leaks is None:
        yield (
            "Accuracy with and without leaked duplicates",
            "duplicates across the splits were not looked for.",
        )
    if findings.previous is None:
        yield "Comparison", "no previous model was given to compare with."
    if findings.proof is None:
        yield "Proof of the file", "it was not loaded in a fresh process."
    if findings.task == "multilabel":
        yield (
            "None of these",
            "an image of something else should get no label; there is no threshold beside those.",
        )
        return
    if not classifies:
        if findings.interval is None:
            yield "Intervals", "the model gives a value alone, without a range."
        return
    if findings.rejection is None:
        yield (
            "Rejection",
            "no threshold for “none of these” was set, so unknown things get one of the known names.",
        )
    if summary.classification and summary.classification.before is None:
        yield "Calibration before temperature", "probabilities without temperature were not recorded."
