"""`graft models list`: the models that are known by name."""

from __future__ import annotations

import textwrap

import click

from models.card import Accuracy
from models.wording import percent, size
from models.zoo import BUILTIN, ZOO, ZooRow
from service.cli.terminal.cards import model_and_card
from service.cli.terminal.text import terminal_width


@click.command()
def command() -> None:
    """List the models that are known by name, and what each is good for.

    A path to any ONNX file works in place of a name. Accuracies on different data sets do not compare.
    """
    width = terminal_width()
    click.echo("\n".join(_entry(row, width) for row in ZOO))


def _entry(row: ZooRow, width: int) -> str:
    """Name and state in a line, and what the model is good for below it."""
    also = f" (also: {', '.join(row.aliases)})" if row.aliases else ""
    indent = "    "
    text = textwrap.fill(
        f"{_accuracy(row)}{row.description}", width, initial_indent=indent, subsequent_indent=indent
    )
    return f"{click.style(row.name, bold=True)}{also}: {_state(row)}\n{text}"


def _state(row: ZooRow) -> str:
    if row.name == BUILTIN:
        return f"built in, {size(row.file.stat().st_size)}" if row.file.is_file() else "missing"
    if row.file.is_file():
        return f"ready, {size(row.file.stat().st_size)}"
    if not row.url:
        return "to build"
    download = f", {size(row.octets)}" if row.octets else ""
    return f"to pull{download}" if row.sha256 else f"to pull, unpinned{download}"


def _accuracy(row: ZooRow) -> str:
    figures = row.accuracy
    if row.name == BUILTIN and row.file.is_file():
        figures = model_and_card(row.name)[1].accuracy
    return f"{_figure(figures[0])} " if figures else ""


def _figure(figure: Accuracy) -> str:
    return f"{percent(figure.top1)} top-1 on {figure.where}."
