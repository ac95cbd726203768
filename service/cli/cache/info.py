"""`graft cache info`: where is the cache, and how full?"""

from __future__ import annotations

import json
from contextlib import closing

import click

from feature_extraction.byte_store import FETCHED, CacheInfo, open_store
from models.wording import size
from service.cli.terminal.messages import print_note
from service.cli.terminal.text import columns


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object; sizes in bytes.")
def command(as_json: bool) -> None:
    """Tell where features are remembered, and how full the cache is.

    GRAFT_CACHE is its folder, GRAFT_CACHE_GB the gigabytes that each of its files may take: that of features, and that
    of images which lists named by their address.
    """
    with closing(open_store()) as store, closing(open_store(FETCHED)) as fetched:
        info, images = store.info(), fetched.info()
        troubles = store.trouble, fetched.trouble
    if as_json:
        row = {"path": str(info.path), "vectors": info.values, "size": info.size, "limit": info.limit}
        click.echo(json.dumps(row | {"fetched": {"images": images.values, "size": images.size}}))
    else:
        rows = [("file", str(info.path)), ("vectors", f"{info.values:,}"), ("size", _used(info))]
        if images.values:
            rows += [("fetched", f"{images.values:,} images from the network, {_used(images)}")]
        click.echo(columns(rows))
    for trouble in filter(None, troubles):
        print_note(trouble)


def _used(info: CacheInfo) -> str:
    return f"{size(info.size)} of {size(info.limit)}"
