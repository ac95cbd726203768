"""`graft cache clear`: forget all features and fetched images."""

from __future__ import annotations

from contextlib import closing

import click

from feature_extraction.byte_store import FEATURES, FETCHED, open_store
from models.wording import size
from service.cli.terminal.messages import print_error


@click.command()
@click.pass_context
def command(ctx: click.Context) -> None:
    """Forget all features that are remembered, and images that lists named by their address.

    Models that were downloaded stay.
    """
    for name, what in ((FEATURES, "vectors"), (FETCHED, "images from the network")):
        with closing(open_store(name)) as store:
            before = store.info()
            store.clear()
            trouble = store.trouble
        if trouble:
            print_error(trouble)
            ctx.exit(2)
        if before.values or name == FEATURES:
            click.echo(f"{before.values:,} {what} forgotten, {size(before.size)}")
