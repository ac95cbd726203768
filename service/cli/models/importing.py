"""`graft models import`: make any ONNX network explain itself."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import click

from models.card import SCALES, Normalization, card_of
from models.errors import ModelError
from models.importing import ImportOptions, import_model
from models.labels import read_labels
from models.proof_making import try_to_write_proof
from models.serialized import write_model
from models.wording import size
from service.cli.models.checking import print_check
from service.cli.terminal.messages import print_warning
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


def _resize(ctx: click.Context, param: click.Parameter, text: str | None) -> dict[str, Any]:
    """shorter:256 or pad:224x320 -> settings of `ImportOptions`."""
    if text is None:
        return {}
    match = re.fullmatch(
        r"squash|(shorter)(?::([1-9]\d{0,4}))?|(pad)(?::([1-9]\d{0,4}(?:x[1-9]\d{0,4})?))?", text
    )
    if match is None:
        raise click.BadParameter(
            f"{text!r} is no way to resize; expected squash, shorter, shorter:256, pad, or pad:HEIGHTxWIDTH."
        )
    if match[3]:
        return {"resize": "pad"} | ({"size": _size(ctx, param, match[4])} if match[4] else {})
    return {"resize": match[1] or "squash", "resize_to": int(match[2]) if match[2] else None}


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
@setting_options(ImportOptions, "task", "output_name")
@setting_options(ImportOptions, "size", type=str, callback=_size)
@setting_options(ImportOptions, "resize", type=str, callback=_resize)
@setting_options(ImportOptions, "pad_value", "crop_fraction", "interpolation")
@setting_options(ImportOptions, "scale", type=str, callback=_scale)
@setting_options(ImportOptions, "channels", "layout")
@click.option(
    "--check", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PHOTO",
    help="Also print what it says of a photo under each way to scale pixels that the file leaves open.",
)  # fmt: skip
def command(
    file: Path,
    out: Path | None,
    check: Path | None,
    labels: Path | None,
    resize: dict[str, Any],
    **options: Any,
) -> None:
    """Write an ONNX network as one file that explains itself.

    The result takes uint8 images, holds its normalisation, labels and card, and works with every other command.
    What is not given is guessed, and each guess is printed.
    """
    if "size" in resize and options["size"] not in (None, resize["size"]):
        raise click.UsageError("--size and --resize pad:HEIGHTxWIDTH name two sizes; give one of them.")
    options |= {"labels": None if labels is None else read_labels(labels), **resize}
    out = out or file.with_name(f"{file.stem}.graft.onnx")
    if out.resolve() == file.resolve():
        raise click.UsageError("--out is the file itself; choose another name.")
    asked = ImportOptions(**options)
    proto, notes = import_model(file, asked)
    for note in notes:
        click.secho(clean(note), fg="yellow")
    if missing := try_to_write_proof(proto):
        print_warning(missing)
    card = card_of(proto, str(out))
    if card is None:
        raise ModelError(f"{file}: was imported without a card.")
    what = {"regression": "a number", "features": "features only"}.get(card.task)
    what = what or f"{len(card.labels):,} {'labels' if card.task == 'multilabel' else 'classes'}"
    if check is not None:
        print_check(file, asked, card, check)
    written = write_model(out, proto)
    click.echo(f"{clean(str(out))}: {what}, {size(written)}")
