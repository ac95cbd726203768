"""`graft dataset inspect`: what is in these labelled images?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from finetune.dataset.list_options import ListOptions
from models.files import check_writable
from models.wording import counted, percent
from service.cli.dataset.source import inspected, source_options
from service.cli.terminal.messages import print_error, print_note, print_warning
from service.cli.terminal.text import bar, clean, columns

if TYPE_CHECKING:
    from finetune.dataset.duplicates import Group
    from finetune.dataset.inspection import Inspection

_CLASSES = 20  # lines of the terminal's summary
_SHOWN = 5  # images of each kind
_BAR = 24  # cells


@click.command()
@source_options
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Where the HTML report goes.  [default: NAME-inspection.html here; none with --json]",
)  # fmt: skip
@click.option("--no-report", is_flag=True, help="Write no HTML report.")
@click.option("--json", "as_json", is_flag=True, help="All findings as one JSON object, each image named.")
@click.pass_context
def command(
    ctx: click.Context,
    source: str,
    model: str,
    no_model: bool,
    task: str,
    outside: bool,
    lists: ListOptions,
    device: str,
    threads: int | None,
    report: Path | None,
    no_report: bool,
    as_json: bool,
) -> None:
    """Look at labelled images before training.

    SOURCE is a folder, .zip or .tar with one folder of images for each class, perhaps below train, val and test; a
    .csv, .tsv or .jsonl list with the columns path and label, or what a labelling tool exports; or a folder with
    MNIST's idx files.

    Exit code 1: some images cannot be read.
    """
    from finetune.dataset.naming import source_name

    page = report
    if report is None and not as_json:
        page = Path(f"{source_name(source)}-inspection.html")
    if no_report:
        page = None
    if page is not None:
        check_writable(page)
    inspection = inspected(source, model, no_model, task, outside, lists, device, threads)
    if as_json:
        from finetune.dataset.inspection_json import as_json as plain

        click.echo(json.dumps(plain(inspection), indent=2))
    else:
        _print(inspection)
    if page is not None:
        from finetune.dataset.inspection_page import write_page

        written = write_page(page, inspection)
        click.echo(f"\n  report    {clean(str(written))}", err=as_json)
    for warning in inspection.dataset.warnings():
        print_warning(warning)
    for i in inspection.unreadable:
        print_error(inspection.facts[i].error)
    if inspection.unreadable:
        ctx.exit(1)


def _print(inspection: Inspection) -> None:
    dataset, facts = inspection.dataset, inspection.facts
    click.secho(clean(dataset.source), bold=True)
    splits = ", ".join(f"{split} {images:,}" for split, images in inspection.split_images.items())
    word = "label" if dataset.task == "multilabel" else "class"
    of = f" of {counted(len(dataset.classes), word)}" if dataset.classes else ""
    click.echo(
        f"  {counted(len(facts), 'image')}{of}{f' ({splits})' if splits else ''}, "
        f"{len(inspection.unreadable):,} unreadable"
    )
    if dataset.classes:
        _print_classes(inspection)
    readable = [one for one in facts if one.error is None]
    widths, heights = sorted(one.width for one in readable), sorted(one.height for one in readable)
    rows = [
        ("  width", f"{widths[0]:,} to {widths[-1]:,} pixels, median {widths[len(widths) // 2]:,}"),
        ("  height", f"{heights[0]:,} to {heights[-1]:,} pixels, median {heights[len(heights) // 2]:,}"),
        ("  formats", ", ".join(sorted({f"{one.format} {one.mode}" for one in readable}))),
    ]
    if dataset.classes:
        rows.append(("  balance", f"largest {word} {inspection.imbalance:.1f} times the smallest"))
    click.echo("\n" + columns(rows))
    exact = sum(group.kind == "exact" for group in inspection.groups)
    near = len(inspection.groups) - exact
    click.secho(f"\n  copies    {exact:,} groups of equal files, {near:,} of near copies", bold=True)
    _print_groups(inspection, "in several splits", inspection.across)
    _print_groups(inspection, "with different labels", inspection.conflicts)
    _print_groups(
        inspection, "", inspection.groups if not (inspection.across or inspection.conflicts) else ()
    )
    _print_flaws(inspection)
    if inspection.model and dataset.task == "multilabel":
        print_note("Wrong labels and outliers are not looked for where several labels may hold.")
    elif inspection.model and dataset.classes:
        _print_suspicions(inspection)


def _print_classes(inspection: Inspection) -> None:
    ordered = sorted(inspection.counts, key=lambda name: (-inspection.counts[name], name))
    largest = inspection.counts[ordered[0]]
    shown = ordered if len(ordered) <= _CLASSES else [*ordered[: _CLASSES // 2], *ordered[-_CLASSES // 2 :]]
    rows = [
        (
            f"  {clean(name)}"[:40],
            f"{inspection.counts[name]:,}",
            bar(inspection.counts[name] / largest, _BAR),
        )
        for name in shown
    ]
    click.echo("\n" + columns(rows, right=(1,)))
    if len(shown) < len(ordered):
        click.echo(f"  the largest and the smallest of {len(ordered):,} classes")


def _print_groups(inspection: Inspection, title: str, groups: Sequence[Group]) -> None:
    if title and groups:
        click.echo(f"  {len(groups):,} {title}")
    for group in groups[:_SHOWN]:
        names = [clean(inspection.dataset.examples[i].key) for i in group.indices]
        rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
        click.echo(f"    {' = '.join(names[:3])}{rest}")
    if len(groups) > _SHOWN:
        click.secho(f"    and {len(groups) - _SHOWN:,} more", dim=True)


def _print_flaws(inspection: Inspection) -> None:
    kinds = ", ".join(f"{number:,} {defect}" for defect, number in inspection.defects.most_common())
    click.secho(
        f"\n  flaws     {kinds or 'none: not blurred, dark, of one colour or an odd size'}", bold=True
    )
    rows = [
        (f"    {flaw.defect}", clean(inspection.dataset.examples[flaw.index].key), flaw.detail)
        for flaw in inspection.flaws[:_SHOWN]
    ]
    if rows:
        click.echo(columns(rows))
    if len(inspection.flaws) > _SHOWN:
        click.secho(f"    and {len(inspection.flaws) - _SHOWN:,} more", dim=True)


def _print_suspicions(inspection: Inspection) -> None:
    examples = inspection.dataset.examples
    if inspection.accuracy is None:
        return
    by = f"by a model that is right on {percent(inspection.accuracy)} of the images it has not seen"
    click.secho(f"\n  labels    {len(inspection.suspects):,} doubted {by}", bold=True)
    if inspection.suspects:
        rows = [
            (
                f"    {clean(examples[one.index].label)}",
                "->",
                clean(one.predicted),
                clean(examples[one.index].key),
            )
            for one in inspection.suspects[:_SHOWN]
        ]
        click.echo(columns(rows))
    click.secho(f"\n  outliers  {len(inspection.outliers):,} unlike the others of their class", bold=True)
    for one in inspection.outliers[:_SHOWN]:
        click.echo(f"    {clean(examples[one.index].key)}")
