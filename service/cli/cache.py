"""`graft cache`: the features that are remembered."""

from __future__ import annotations

import click

from service.cli.lazy import LazyGroup

COMMANDS = {
    "info": ("service.cli.cache_info", "Tell where the cache is and how full."),
    "clear": ("service.cli.cache_clear", "Forget all features."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """Look at the features that are remembered, or forget them."""
