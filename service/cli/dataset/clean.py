"""`graft dataset clean`: a list of the images that are fit to train on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from finetune.dataset.list_options import ListOptions
from models.files import check_writable
from service.cli.dataset.source import inspected, source_options
from service.cli.terminal.messages import print_warning
from service.cli.terminal.text import clean, columns

if TYPE_CHECKING:
    from finetune.dataset.cleaning import Choice


@click.command()
@source_options
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The list, a .csv file.",
)
@click.option(
    "--drop", multiple=True, type=click.Choice(["near", "labels", "outliers", "flaws"]),
    help="Leave these out too: near copies but one, suspected labels, outliers, flaws (blurred, dark, odd). "
    "May be given several times.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Write over a list that is there already.")
def command(
    source: str,
    model: str,
    no_model: bool,
    task: str,
    outside: bool,
    lists: ListOptions,
    device: str,
    threads: int | None,
    out: Path,
    drop: tuple[str, ...],
    force: bool,
) -> None:
    """Write a list of the images in SOURCE that are fit to train on.

    Left out are unreadable images, exact copies but one, and all copies with different labels. The list has the columns
    path, label, split, group and id, and is a SOURCE itself; FILE.left-out.csv tells the rest, with reasons. No image
    is touched.
    """
    from finetune.dataset.cleaning import exclusions, reason_counts, write_list

    _check(out, drop, no_model, force, task)
    inspection = inspected(source, model, no_model, task, outside, lists, device, threads)
    excluded = exclusions(inspection, cast("tuple[Choice, ...]", drop))
    beside = write_list(out, inspection, excluded)
    click.secho(clean(str(out)), bold=True)
    click.echo(f"  {len(inspection.facts) - len(excluded):,} of {len(inspection.facts):,} images kept")
    rows = [(f"  {number:,}", reason) for reason, number in reason_counts(excluded).items()]
    if rows:
        click.echo(columns(rows, right=(0,)))
        click.echo(f"  named in {clean(str(beside))}")
    for warning in inspection.dataset.warnings():
        print_warning(warning)


def _check(out: Path, drop: tuple[str, ...], no_model: bool, force: bool, task: str) -> None:
    """Refuse before the work what would fail after it."""
    if out.suffix.lower() != ".csv":
        raise click.UsageError(f"--out is {out}; expected a name that ends in .csv.")
    if out.exists() and not force:
        raise click.UsageError(f"{out} is there already. Choose another name, or add --force.")
    check_writable(out)
    if task != "classification" and ({"labels", "outliers"} & set(drop)):
        raise click.UsageError(
            f"--drop labels and --drop outliers judge classes, and the task is {task}. Take them away."
        )
    if no_model and ({"labels", "outliers"} & set(drop)):
        raise click.UsageError(
            "--no-model judges no labels; take away --drop labels and --drop outliers, or --no-model."
        )
