"""`graft evaluate` for a model that gives numbers."""

from __future__ import annotations

import dataclasses
import json

import click

from finetune.dataset.opening import open_dataset
from finetune.trust.regression import RegressionEvaluation, evaluate_regression
from models.errors import InputError
from models.model import Model
from service.cli.terminal.progress import images_progress
from service.cli.terminal.text import clean, columns, percent


def evaluate_and_print(
    ctx: click.Context, model: Model, source: str, split: str | None, as_json: bool
) -> None:
    """Measure the errors on a list of images with numbers, and print them; exits with 1 where an image failed.

    Raises:
        InputError: no such list, or no image of the split in it.
    """
    dataset = open_dataset(source, "regression")
    items = [(one.item, one.target) for one in dataset.examples if split is None or one.split == split]
    if not items:
        splits = sorted({one.split for one in dataset.examples if one.split is not None})
        raise InputError(
            f"{source}: no image of the split {split!r}; there is {', '.join(splits) or 'no split'}. Choose another."
        )
    with images_progress(len(items)) as progress:
        result = evaluate_regression(model, items, progress=lambda done, _: progress(done))
    if as_json:
        values = dataclasses.asdict(result)
        values["failed"] = [{"image": image, "error": reason} for image, reason in result.failed]
        values["images_per_second"] = result.images_per_second
        click.echo(
            json.dumps({"model": model.card.name, "source": source, "split": split, **values}, indent=2)
        )
    else:
        _print(result, model, source if split is None else f"{source}, split {split}")
    for _, reason in result.failed:
        click.secho(f"Error: {clean(reason)}", err=True, fg="red")
    if result.failed:
        ctx.exit(1)


def _print(result: RegressionEvaluation, model: Model, where: str) -> None:
    target = model.card.target
    unit = target.unit if target is not None else ""
    click.secho(f"{model.card.name} on {clean(where)}", bold=True)
    click.echo(f"  {result.images:,} images, {len(result.failed)} could not be read\n")
    rows = [
        ("  mean absolute error", f"{result.mae:.4g}", unit),
        ("  mean squared error", f"{result.mse:.4g}", f"{unit} squared" if unit else ""),
        (
            "  R2",
            "none" if result.r2 is None else f"{result.r2:.4f}",
            "1 is perfect, 0 no better than the mean",
        ),
    ]
    if result.coverage is not None and target is not None:
        promised = "" if target.coverage is None else f"; the card says {percent(target.coverage, 0)}"
        rows.append(
            (
                "  within the interval",
                percent(result.coverage),
                f"+- {target.half_width:.4g} {unit}{promised}",
            )
        )
    speed = f"images/s, decoding included, on {model.session.device}"
    rows.append(("  speed", f"{result.images_per_second:,.0f}", speed))
    click.echo(columns([(name, figure, clean(note)) for name, figure, note in rows], right=(1,)))
