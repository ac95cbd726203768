"""`graft evaluate`: how often is a model right?"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click

from feature_extraction.sources import Tally, labelled
from finetune.trust.evaluation import Evaluation, evaluate
from models.model import Model
from service.cli.terminal.options import device_options, model_option, open_model
from service.cli.terminal.progress import images_progress
from service.cli.terminal.text import clean, columns, percent

_WEAKEST = 5


@click.command()
@click.argument("source")
@model_option
@click.option("--split", metavar="NAME", help="Folder above the classes to take, such as val.")
@click.option("--json", "as_json", is_flag=True, help="All results as one JSON object, each class included.")
@device_options
@click.pass_context
def command(
    ctx: click.Context,
    source: str,
    model: str,
    split: str | None,
    as_json: bool,
    device: str,
    threads: int | None,
) -> None:
    """Measure accuracy on labelled images.

    SOURCE is a folder or zip archive with one folder of images for each class, named by a label's id or name. For a
    regression it is a list (.csv, .tsv, .jsonl) with the columns path and target.
    """
    opened = open_model(model, device, threads)
    if opened.is_regression:
        from service.cli.evaluate.regression import evaluate_and_print

        evaluate_and_print(ctx, opened, source, split, as_json)
        return
    opened.require_classifier()
    tally = Tally()
    items = list(labelled(source, split, tally))
    with images_progress(len(items)) as progress:
        result = evaluate(opened, items, progress=lambda done, _: progress(done))
    if as_json:
        click.echo(json.dumps(_as_json(result, opened, source, split), indent=2))
    else:
        _print(result, opened, source, split)
    for _, reason in result.failed:
        click.secho(f"Error: {clean(reason)}", err=True, fg="red")
    if tally.ignored:
        click.secho(f"{tally.ignored:,} other files passed over", err=True, dim=True)
    if result.failed:
        ctx.exit(1)


def _print(result: Evaluation, model: Model, source: str, split: str | None) -> None:
    where = source if split is None else f"{source}, split {split}"
    click.secho(f"{model.card.name} on {clean(where)}", bold=True)
    click.echo(
        f"  {result.images:,} images of {len(result.classes)} classes, {len(result.failed)} could not be read\n"
    )
    low, high = (f"{100 * bound:.2f}" for bound in result.interval)
    rows = [("  top-1", percent(result.top1, 2), f"95 % confidence: {low} to {high} %")]
    if result.top5 is not None:
        rows.append(("  top-5", percent(result.top5, 2), ""))
    if result.rejected is not None:
        rows.append(
            ("  rejected", percent(result.rejected / result.images, 2), "taken for none of the classes")
        )
    if result.accepted_top1 is not None:
        rows.append(("  accepted", percent(result.accepted_top1, 2), "top-1 on the images that are left"))
    rows.append(
        (
            "  speed",
            f"{result.images_per_second:,.0f}",
            f"images/s, decoding included, on {model.session.device}",
        )
    )
    click.echo(columns(rows, right=(1,)))
    weakest = sorted(result.classes, key=lambda row: row.accuracy)[:_WEAKEST]
    if len(result.classes) > _WEAKEST:
        click.echo("\n  weakest classes")
        click.echo(
            columns(
                [("  ", percent(row.accuracy), f"of {row.images}", clean(row.label.name)) for row in weakest],
                right=(1, 2),
            )
        )


def _as_json(result: Evaluation, model: Model, source: str, split: str | None) -> dict[str, Any]:
    values = dataclasses.asdict(result)
    values["failed"] = [{"image": image, "error": reason} for image, reason in result.failed]
    values["classes"] = [
        {"id": row.label.id, "label": row.label.name, "images": row.images, "correct": row.correct}
        for row in result.classes
    ]
    values["images_per_second"] = result.images_per_second
    return {"model": model.card.name, "source": source, "split": split, **values}
