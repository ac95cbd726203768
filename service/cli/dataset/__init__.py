"""`graft dataset`: the commands about labelled images."""

from __future__ import annotations

import click

from service.cli.terminal.lazy import LazyGroup

COMMANDS = {
    "inspect": ("service.cli.dataset.inspect", "Look for copies, wrong labels and broken files."),
    "clean": ("service.cli.dataset.clean", "Write a list without them; no image is touched."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Look at labelled images before anything is trained on them."""
