"""`graft dataset inspect`: what is in these labelled images?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.cli.dataset.source import look, source_options, stem
from service.cli.terminal.text import bar, clean, columns, percent

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
    device: str,
    threads: int | None,
    report: Path | None,
    no_report: bool,
    as_json: bool,
) -> None:
    """Look at labelled images before training.

    SOURCE is a folder or .zip with one folder of images for each class, perhaps below train, val and test; a .csv,
    .tsv or .jsonl list with the columns path and label; or a folder with MNIST's idx files.

    Exit code 1: some images cannot be read.
    """
    found = look(source, model, no_model, task, outside, device, threads)
    if as_json:
        from finetune.dataset.inspection_json import as_json as plain

        click.echo(json.dumps(plain(found), indent=2))
    else:
        _print(found)
    if not no_report and (report or not as_json):
        from finetune.dataset.inspection_page import write_page

        written = write_page(report or Path(f"{stem(source)}-inspection.html"), found)
        click.echo(f"\n  report    {clean(str(written))}", err=as_json)
    for warning in found.dataset.warnings():
        click.secho(f"Warning: {clean(warning)}", err=True, fg="yellow")
    for i in found.unreadable:
        click.secho(f"Error: {clean(found.facts[i].error or '')}", err=True, fg="red")
    if found.unreadable:
        ctx.exit(1)


def _print(found: Inspection) -> None:
    dataset, facts = found.dataset, found.facts
    click.secho(clean(dataset.source), bold=True)
    splits = ", ".join(f"{split} {sum(counted.values()):,}" for split, counted in found.split_counts.items())
    of = f" of {len(dataset.classes):,} classes" if dataset.classes else ""
    click.echo(
        f"  {len(facts):,} images{of}{f' ({splits})' if splits else ''}, {len(found.unreadable):,} unreadable"
    )
    if dataset.classes:
        _print_classes(found)
    readable = [one for one in facts if one.error is None]
    widths, heights = sorted(one.width for one in readable), sorted(one.height for one in readable)
    rows = [
        ("  width", f"{widths[0]:,} to {widths[-1]:,} pixels, median {widths[len(widths) // 2]:,}"),
        ("  height", f"{heights[0]:,} to {heights[-1]:,} pixels, median {heights[len(heights) // 2]:,}"),
        ("  formats", ", ".join(sorted({f"{one.format} {one.mode}" for one in readable}))),
    ]
    if dataset.classes:
        rows.append(("  balance", f"largest class {found.imbalance:.1f} times the smallest"))
    click.echo("\n" + columns(rows))
    exact = sum(group.kind == "exact" for group in found.groups)
    near = len(found.groups) - exact
    click.secho(f"\n  copies    {exact:,} groups of equal files, {near:,} of near copies", bold=True)
    _print_groups(found, "in several splits", found.across)
    _print_groups(found, "with different labels", found.conflicts)
    _print_groups(found, "", found.groups if not (found.across or found.conflicts) else ())
    if found.model and dataset.classes:
        _print_suspicions(found)


def _print_classes(found: Inspection) -> None:
    ordered = sorted(found.counts, key=lambda name: (-found.counts[name], name))
    largest = found.counts[ordered[0]]
    shown = ordered if len(ordered) <= _CLASSES else [*ordered[: _CLASSES // 2], *ordered[-_CLASSES // 2 :]]
    rows = [
        (f"  {clean(name)}"[:40], f"{found.counts[name]:,}", bar(found.counts[name] / largest, _BAR))
        for name in shown
    ]
    click.echo("\n" + columns(rows, right=(1,)))
    if len(shown) < len(ordered):
        click.echo(f"  the largest and the smallest of {len(ordered):,} classes")


def _print_groups(found: Inspection, title: str, groups: Sequence[Group]) -> None:
    if title and groups:
        click.echo(f"  {len(groups):,} {title}")
    for group in groups[:_SHOWN]:
        names = [clean(found.dataset.examples[i].key) for i in group.indices]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        click.echo(f"    {' = '.join(names[:3])}{more}")
    if len(groups) > _SHOWN:
        click.secho(f"    and {len(groups) - _SHOWN:,} more", dim=True)


def _print_suspicions(found: Inspection) -> None:
    examples = found.dataset.examples
    if found.accuracy is None:
        return
    by = f"by a model that is right on {percent(found.accuracy)} of the images it has not seen"
    click.secho(f"\n  labels    {len(found.suspects):,} doubted {by}", bold=True)
    if found.suspects:
        rows = [
            (
                f"    {clean(examples[one.index].label)}",
                "->",
                clean(one.predicted),
                clean(examples[one.index].key),
            )
            for one in found.suspects[:_SHOWN]
        ]
        click.echo(columns(rows))
    click.secho(f"\n  outliers  {len(found.outliers):,} unlike the others of their class", bold=True)
    for one in found.outliers[:_SHOWN]:
        click.echo(f"    {clean(examples[one.index].key)}")
