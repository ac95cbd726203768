"""`graft models any-size`: a file that other runtimes give photos as they are."""

from __future__ import annotations

from pathlib import Path

import click

from models.any_size import SUFFIX, TOLERANCE, checked_any_size
from models.card import card_of
from models.files import check_writable, write_atomically
from models.importing import as_graft_model
from models.locating import locate
from service.cli.terminal.messages import print_guesses
from service.cli.terminal.progress import download_progress


@click.command()
@click.argument("model")
@click.option(
    "--out", "--output", "-o", "out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="File to write.  [default: NAME.any-size.onnx]",
)  # fmt: skip
def command(model: str, out: Path | None) -> None:
    """Make a file for other runtimes (onnxruntime-web, C#, Java), whose graph resizes and crops photos itself.

    Its input is one upright RGB photo of any size, uint8 (1, H, W, 3); its outputs are the model's. Before it is
    written its answers on two pictures are compared with the model's: expected within 0.02. Graft's own commands take
    the model.
    """
    if out is not None:
        check_writable(out)
    with download_progress() as progress:
        path = locate(model, progress=progress)
    proto, notes = as_graft_model(path)
    print_guesses(model, notes)
    made, gap = checked_any_size(proto)
    card = card_of(proto)
    target = out or Path(f"{card.name if card is not None else path.stem}{SUFFIX}.onnx")
    write_atomically(target, made.SerializeToString())
    click.echo(
        f"{target}: differs from the model by {gap:.4f} at most on two pictures (allowed: {TOLERANCE})"
    )
