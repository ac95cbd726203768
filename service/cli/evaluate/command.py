"""`graft evaluate`: how often is a model right?"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from feature_extraction.items import passed_over
from finetune.dataset.list_options import ListOptions
from finetune.dataset.opening import holds_lists, open_split
from finetune.dataset.task import Task
from finetune.trust.evaluation import Evaluation, evaluate
from finetune.trust.label_evaluation import MultilabelEvaluation, evaluate_multilabel
from finetune.trust.regression import RegressionEvaluation, evaluate_regression
from models.files import check_writable
from models.model import Model
from models.wording import counted, percent
from service.cli.evaluate.labels import multilabel_json, print_multilabel
from service.cli.evaluate.regression import print_regression
from service.cli.terminal.messages import print_error, print_note, print_passed_over
from service.cli.terminal.options import device_options, list_options, model_option, open_model
from service.cli.terminal.progress import images_progress
from service.cli.terminal.text import clean, columns

_WEAKEST = 5
_ALL = 20  # classes that are all listed


@click.command()
@click.argument("source")
@model_option
@click.option(
    "--split", metavar="NAME", help="Which part to take: train, val, test, or a folder above the classes."
)
@list_options
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Also write an HTML page: confusion matrix, mistakes with their photos, each class.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="All results as one JSON object, each class included.")
@device_options
@click.pass_context
def command(
    ctx: click.Context,
    source: str,
    model: str,
    split: str | None,
    outside: bool,
    lists: ListOptions,
    report: Path | None,
    as_json: bool,
    device: str,
    threads: int | None,
) -> None:
    """Measure accuracy on labelled images.

    SOURCE is what `graft finetune` takes: a folder or archive with one folder of images for each class, named by a
    label's id or name; a list (.csv, .tsv, .jsonl) with the columns path and label, path and labels of which
    several may hold, or path and target for a regression; or a folder with MNIST's idx files.
    """
    if report is not None:
        if report.suffix.lower() not in (".html", ".htm"):
            raise click.UsageError(f"--report is {report}; expected a name that ends in .html.")
        check_writable(report)
    opened = open_model(model, device, threads)
    if report is not None and opened.is_regression:
        raise click.UsageError("--report is about classes, and this model gives a number. Leave it out.")
    if not opened.is_regression:
        opened.require_classifier()
    task = _task_of(opened, source)
    if opened.is_multilabel and task == "classification":
        print_note(
            "Several labels may hold at once, and each image here has one: what is counted is how often it is the most "
            "probable. A list says which labels hold."
        )
    dataset = open_split(source, split, task, outside=outside, lists=lists)
    result: Evaluation | RegressionEvaluation | MultilabelEvaluation
    with images_progress(len(dataset.examples)) as bar:

        def progress(done: int, _: int) -> None:
            bar(done)

        if task == "regression":
            result = evaluate_regression(opened, dataset.numbered, progress=progress)
        elif task == "multilabel":
            result = evaluate_multilabel(opened, dataset.labels_held, progress=progress)
        else:
            result = evaluate(opened, dataset.labelled, progress=progress, keep_answers=report is not None)
    if report is not None and not isinstance(result, RegressionEvaluation):
        from service.cli.evaluate.report import write_page  # its libraries take a second

        write_page(report, result, opened.card, source)
    if as_json:
        known = {"model": opened.card.name, "source": source, "split": split}
        click.echo(json.dumps(known | _as_json(result), indent=2))
    else:
        where = source if split is None else f"{source}, split {split}"
        click.secho(f"{opened.card.name} on {clean(where)}", bold=True)
        if isinstance(result, RegressionEvaluation):
            print_regression(result, opened)
        elif isinstance(result, MultilabelEvaluation):
            print_multilabel(result, opened)
        else:
            _print(result, opened)
    if report is not None and not as_json:
        click.echo(f"\n  report  {clean(str(report))}")
    for _, reason in result.failed:
        print_error(reason)
    for note in dataset.notes:
        print_note(note)
    print_passed_over(passed_over(dataset.ignored, dataset.endings))
    if dataset.stray:
        print_passed_over(f"{counted(len(dataset.stray), 'image')} outside the classes' folders")
    if result.failed:
        ctx.exit(1)


def _print(result: Evaluation, model: Model) -> None:
    click.echo(
        f"  {counted(result.images, 'image')} of {counted(len(result.classes), 'class')}, "
        f"{len(result.failed)} could not be read\n"
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
    weakest = sorted(result.classes, key=lambda row: row.accuracy)
    if len(weakest) > 1:
        shown, which = weakest, ""
        if len(weakest) > _ALL:
            shown = weakest[:_WEAKEST]
            which = f", the weakest {_WEAKEST} of {len(weakest):,}; --json and --report have all"
        click.echo(f"\n  classes{which}")
        click.echo(
            columns(
                [("  ", percent(row.accuracy), f"of {row.images:,}", clean(row.label.name)) for row in shown],
                right=(1, 2),
            )
        )


def _task_of(model: Model, source: str) -> Task:
    """What is compared: of a model that says which labels hold, those of a list, or the one of a folder."""
    if model.is_regression:
        return "regression"
    return "multilabel" if model.is_multilabel and holds_lists(source) else "classification"


def _as_json(result: Evaluation | RegressionEvaluation | MultilabelEvaluation) -> dict[str, Any]:
    if isinstance(result, MultilabelEvaluation):
        return multilabel_json(result)
    values = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    values.pop("answers", None)
    values["failed"] = [{"image": image, "error": reason} for image, reason in result.failed]
    if isinstance(result, Evaluation):
        values["classes"] = [
            {"id": row.label.id, "label": row.label.name, "images": row.images, "correct": row.correct}
            for row in result.classes
        ]
    return values | {"images_per_second": result.images_per_second}
