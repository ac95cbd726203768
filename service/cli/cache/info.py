"""`graft cache info`: where is the cache, and how full?"""

from __future__ import annotations

import dataclasses
import json
from contextlib import closing

import click

from feature_extraction.cache import open_store
from models.wording import size
from service.cli.terminal.messages import print_note
from service.cli.terminal.text import columns


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object; sizes in bytes.")
def command(as_json: bool) -> None:
    """Tell where features are remembered, and how full the cache is.

    GRAFT_CACHE is its folder, GRAFT_CACHE_GB the gigabytes it may take.
    """
    with closing(open_store()) as store:
        info = store.info()
        trouble = store.trouble
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(info) | {"path": str(info.path)}))
    else:
        used = f"{size(info.size)} of {size(info.limit)}"
        click.echo(columns([("file", str(info.path)), ("vectors", f"{info.vectors:,}"), ("size", used)]))
    if trouble:
        print_note(trouble)
