"""`graft cache clear`: forget all features."""

from __future__ import annotations

from contextlib import closing

import click

from feature_extraction.cache import open_store
from models.wording import size
from service.cli.terminal.messages import print_error


@click.command()
@click.pass_context
def command(ctx: click.Context) -> None:
    """Forget all features that are remembered. Models that were downloaded stay."""
    with closing(open_store()) as store:
        before = store.info()
        store.clear()
        trouble = store.trouble
    if trouble:
        print_error(trouble)
        ctx.exit(2)
    click.echo(f"{before.vectors:,} vectors forgotten, {size(before.size)}")
