"""`graft explain`: what in a photo speaks for a class?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from finetune.explain.geometry import full_photo
from finetune.explain.gradcam import GradCam, Heatmap
from finetune.explain.overlay import overlay, png
from models.errors import InputError
from models.files import check_writable, write_atomically
from models.wording import percent
from service.cli.terminal.messages import print_guesses, print_note
from service.cli.terminal.options import device_option, model_option
from service.cli.terminal.text import clean


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@model_option
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME",
    help="Class to look for; may be repeated.  [default: the best guess]",
)
@click.option("--top-k", "-k", type=click.IntRange(1), help="Look for the K most probable classes.")
@click.option(
    "--cut", metavar="NAME", help="Feature map to look at.  [default: the last one before the classifier]"
)
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="PNG to write; of several classes, -1, -2 ... is added.  [default: IMAGE-explained.png in this folder]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each class.")
@device_option
def command(
    image: Path,
    model: str,
    labels: tuple[str, ...],
    top_k: int | None,
    cut: str | None,
    out: Path | None,
    as_json: bool,
    device: str,
) -> None:
    """Show what in a photo speaks for a class, as a heat map over it (Grad-CAM).

    IMAGE is one photo. The map lies where the network has seen things; parts that it does not see, because
    preprocessing crops them, are darker. It says where evidence for the class lies, not that the class is right.
    """
    if labels and top_k is not None:
        raise click.UsageError("--label names classes and --top-k counts them: give one of them.")
    out = out or Path(f"{image.stem}-explained.png")
    if out.suffix.lower() != ".png":
        raise click.UsageError(
            f"--out is {out}: overlays are PNG files. Name it {out.with_suffix('.png').name}."
        )
    if out.resolve() == image.resolve():
        raise InputError(f"{out}: is the photo itself, and would be lost. Choose another --out.")
    check_writable(out)
    explainer = GradCam(model, cut, device=device)
    print_guesses(model, explainer.notes)
    photo = full_photo(image)
    heatmaps = explainer.explain(image, labels, top_k=top_k or 1)
    for rank, heat in enumerate(heatmaps, 1):
        file = out if len(heatmaps) == 1 else out.with_name(f"{out.stem}-{rank}{out.suffix}")
        write_atomically(file, png(overlay(photo, heat)))
        click.echo(
            json.dumps(_as_json(image, heat, file), ensure_ascii=False) if as_json else _text(heat, file)
        )
        if not heat.raw.any():
            print_note(f"Nothing at {heat.cut} speaks for {heat.label.name}: its map is empty.")


def _text(heat: Heatmap, file: Path) -> str:
    score = percent(heat.probability) if heat.probability is not None else f"{heat.value:.4g}"
    return f"{clean(heat.label.name)}  {score}  {clean(str(file))}"


def _as_json(image: Path, heat: Heatmap, file: Path) -> dict[str, Any]:
    row, column = np.unravel_index(int(heat.photo.argmax()), heat.photo.shape)
    return {
        "image": str(image),
        "overlay": str(file),
        "id": heat.label.id,
        "label": heat.label.name,
        "probability": heat.probability,
        "value": heat.value,
        "cut": heat.cut,
        "peak": [int(column), int(row)],  # x, y on the upright photo
        "seen": [round(edge, 1) for edge in heat.box],  # left, top, right, bottom
        "map": [[round(float(value), 4) for value in line] for line in heat.raw],
    }
