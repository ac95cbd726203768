"""`graft models list`: the models that are known by name."""

from __future__ import annotations

import click

from models.wording import percent
from models.zoo import BUILTIN, ZOO, ZooRow
from service.cli.terminal.cards import model_and_card
from service.cli.terminal.text import columns


@click.command()
def command() -> None:
    """List the models that are known by name.

    A path to any ONNX file works in place of a name.
    """
    rows = [("MODEL", "STATE", "TOP-1", "WHAT IT IS")]
    rows += [(row.name, _state(row), _top1(row), _description(row)) for row in ZOO]
    click.echo(columns(rows, right=(2,)))


def _state(row: ZooRow) -> str:
    if row.name == BUILTIN:
        return "built in" if row.file.is_file() else "missing"
    if row.file.is_file():
        return "ready"
    return ("to pull" if row.sha256 else "unpinned") if row.url else "to build"


def _top1(row: ZooRow) -> str:
    accuracy = row.accuracy
    if row.name == BUILTIN and row.file.is_file():
        accuracy = model_and_card(row.name)[1].accuracy
    return percent(accuracy[0].top1) if accuracy else "-"


def _description(row: ZooRow) -> str:
    also = f" (also: {', '.join(row.aliases)})" if row.aliases else ""
    return row.description + also
