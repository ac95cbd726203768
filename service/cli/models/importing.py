"""`graft models import`: make any ONNX network explain itself."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import click

from models.card import SCALES, Normalization, card_of
from models.errors import ModelError
from models.files import write_atomically
from models.importing import ImportOptions, import_model
from models.labels import read_labels
from models.wording import size
from service.cli.terminal.options import setting_options
from service.cli.terminal.text import clean


def _size(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """224 or 224x160 -> (height, width)."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no size; expected 224, or HEIGHTxWIDTH such as 224x160.")
    return int(match[1]), int(match[2] or match[1])


def _resize(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[Any, int | None]:
    """shorter:256 -> ("shorter", 256)."""
    if text is None:
        return None, None
    match = re.fullmatch(r"squash|(shorter)(?::([1-9]\d{0,4}))?", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no way to resize; expected squash, shorter, or shorter:256.")
    return match[1] or "squash", int(match[2]) if match[2] else None


def _scale(ctx: click.Context, param: click.Parameter, text: str | None) -> Any:
    """A name, or "r,g,b/r,g,b" -> mean and deviation."""
    if text is None or text in SCALES:
        return text
    try:
        red, green, blue, red_std, green_std, blue_std = (float(part) for part in re.split("[,/]", text))
        usable = min(red_std, green_std, blue_std) > 0 and math.isfinite(
            red + green + blue + red_std + green_std + blue_std
        )
    except ValueError:
        usable = False
    if not usable:
        raise click.BadParameter(
            f"{text!r} is no scale; expected {', '.join(SCALES)}, or mean and deviation of pixels from 0 to 1 as "
            "r,g,b/r,g,b such as 0.48,0.46,0.41/0.27,0.26,0.28."
        )
    return Normalization((red, green, blue), (red_std, green_std, blue_std))


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out", "--output", "-o", "out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="File to write.  [default: NAME.graft.onnx beside FILE]",
)  # fmt: skip
@setting_options(ImportOptions, "name")
@setting_options(ImportOptions, "labels", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@setting_options(ImportOptions, "size", type=str, callback=_size)
@setting_options(ImportOptions, "resize", type=str, callback=_resize)
@setting_options(ImportOptions, "crop_fraction", "interpolation")
@setting_options(ImportOptions, "scale", type=str, callback=_scale)
@setting_options(ImportOptions, "layout")
def command(
    file: Path, out: Path | None, labels: Path | None, resize: tuple[Any, int | None], **options: Any
) -> None:
    """Write an ONNX network as one file that explains itself.

    The result takes uint8 images, holds its normalisation, labels and card, and works with every other command.
    What is not given is guessed, and each guess is printed.
    """
    how, resize_to = resize
    options |= {
        "labels": None if labels is None else read_labels(labels),
        "resize": how,
        "resize_to": resize_to,
    }
    out = out or file.with_name(f"{file.stem}.graft.onnx")
    if out.resolve() == file.resolve():
        raise click.UsageError("--out is the file itself; choose another name.")
    proto, notes = import_model(file, ImportOptions(**options))
    for note in notes:
        click.secho(note, fg="yellow")
    data = proto.SerializeToString()
    write_atomically(out, data)
    card = card_of(proto, str(out))
    if card is None:
        raise ModelError(f"{file}: was imported without a card.")
    what = f"{len(card.labels):,} classes" if card.labels else "features only"
    click.echo(f"{clean(str(out))}: {what}, {size(len(data))}")
