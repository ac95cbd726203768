"""`graft cache`: the features that are remembered."""

from __future__ import annotations

import click

from service.cli.terminal.lazy import LazyGroup

COMMANDS = {
    "info": ("service.cli.cache.info", "Tell where the cache is and how full."),
    "clear": ("service.cli.cache.clear", "Forget all features."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Look at the features that are remembered, or forget them."""
