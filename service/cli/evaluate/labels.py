"""What `graft evaluate` prints of a model that says which labels hold."""

from __future__ import annotations

from typing import Any

import click

from finetune.trust.label_evaluation import MultilabelEvaluation
from finetune.trust.multilabel import LabelMeasure
from models.model import Model
from models.wording import counted, listed, percent
from service.cli.terminal.messages import print_note
from service.cli.terminal.text import clean, columns

_MOST = 40  # labels that are listed


def print_multilabel(result: MultilabelEvaluation, model: Model) -> None:
    """Print how often all labels are right, and the numbers of each label, the weakest first."""
    measure = result.measure
    click.echo(f"  {counted(result.images, 'image')}, {len(result.failed)} could not be read\n")
    low, high = (f"{100 * bound:.2f}" for bound in measure.all_right.interval)
    rows = [
        ("  all labels right", percent(measure.all_right.value, 2), f"95 % confidence: {low} to {high} %"),
        ("  precision", _shown(measure.precision), "of the labels that were answered, how many hold"),
        ("  recall", _shown(measure.recall), "of the labels that hold, how many were answered"),
        ("  F1", _shown(measure.f1), f"mean over labels {_shown(measure.mean_f1)}"),
        ("  mean average precision", _shown(measure.mean_average_precision), "whatever the thresholds"),
        ("  calibration error", _shown(measure.calibration), "mean gap of probability and truth"),
        (
            "  speed",
            f"{result.images_per_second:,.0f}",
            f"images/s, decoding included, on {model.session.device}",
        ),
    ]
    click.echo(columns(rows, right=(1,)))
    seen = sorted(
        (one for one in measure.labels if one.images), key=lambda one: (one.average_precision, one.name)
    )
    rest = (
        f", the weakest {_MOST} of {len(seen):,}; --json and --report have all" if len(seen) > _MOST else ""
    )
    click.echo(f"\n  labels{rest}")
    header = ("  ", "images", "threshold", "precision", "recall", "avg. prec.", "calibr.")
    click.echo(columns([header, *(_row(one) for one in seen[:_MOST])], right=(1, 2, 3, 4, 5, 6)))
    _print_doubts(result)


def _print_doubts(result: MultilabelEvaluation) -> None:
    """What was not counted, or cannot be told."""
    if result.unknown:
        names = listed([f"{clean(name)} ({counted(images, 'image')})" for name, images in result.unknown])
        print_note(f"The model does not know {names}: not counted.")
    if bare := [clean(one.name) for one in result.measure.labels if not one.images]:
        print_note(f"No image has {listed(bare)}: nothing is known of finding it.")


def multilabel_json(result: MultilabelEvaluation) -> dict[str, Any]:
    """All results as values that JSON knows; what does not exist is null."""
    measure = result.measure
    names = ("precision", "recall", "f1", "mean_f1", "mean_average_precision", "calibration", "log_loss")
    return {
        "images": result.images,
        "failed": [{"image": image, "error": reason} for image, reason in result.failed],
        "all_right": measure.all_right.value,
        "interval": measure.all_right.interval,
        **{name: _finite(getattr(measure, name)) for name in names},
        "labels": [{key: _finite(value) for key, value in vars(one).items()} for one in measure.labels],
        "unknown": [{"label": name, "images": images} for name, images in result.unknown],
        "seconds": result.seconds,
        "images_per_second": result.images_per_second,
    }


def _row(one: LabelMeasure) -> tuple[str, ...]:
    figures = (one.threshold, one.precision, one.recall, one.average_precision, one.calibration)
    return (f"  {clean(one.name)}", f"{one.images:,}", *map(_shown, figures))


def _shown(share: float) -> str:
    return percent(share) if share == share else "-"


def _finite(value: Any) -> Any:
    return None if value != value else value
