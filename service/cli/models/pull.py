"""`graft models pull`: get a model and build its ONNX file."""

from __future__ import annotations

from pathlib import Path

import click

from models.errors import UnknownModelError, WeightsError
from models.files import sha256
from models.locating import pull
from models.store import cache_folder
from models.wording import size
from models.zoo import BUILTIN, ZooRow, find
from service.cli.terminal.progress import download_progress


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--allow-unpinned", is_flag=True, help="Also take weights whose digest was never published.")
@click.option(
    "--file",
    "weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Weights that you have already, in place of a download.",
)
def command(names: tuple[str, ...], allow_unpinned: bool, weights: Path | None) -> None:
    """Download models and build their ONNX files.

    An interrupted download goes on where it stopped. Files are kept in the cache folder (GRAFT_CACHE).
    """
    if weights is not None and len(names) > 1:
        raise click.UsageError("--file holds the weights of one model; give one name with it.")
    for row in [_row(name) for name in names]:
        _pull(row, weights, allow_unpinned)


def _row(name: str) -> ZooRow:
    row = find(name)
    if row is None:
        raise UnknownModelError(f"model {name!r} is not known; see `graft models list` for the names.")
    return row


def _pull(row: ZooRow, weights: Path | None, allow_unpinned: bool) -> None:
    if row.file.is_file() and (weights is None or row.name == BUILTIN):
        click.echo(f"{row.name}: there already, {row.file}")
        return
    if row.name == BUILTIN:
        raise WeightsError(f"{row.name}: its file {row.file} is missing. Install graft again.")
    with download_progress() as progress:
        path = pull(row, weights=weights, allow_unpinned=allow_unpinned, progress=progress)
    click.echo(f"{row.name}: {path}, {size(path.stat().st_size)}")
    if row.url and not row.sha256:
        taken = weights or cache_folder() / "weights" / row.name / row.url.rpartition("/")[2]
        click.echo(f"{row.name}: unpinned weights with SHA-256 {sha256(taken)}")
