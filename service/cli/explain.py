"""`graft explain`: what in a photo speaks for a class, and what does a unit of the network want to see?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from finetune.explain.ascent import STEPS, Ascent
from finetune.explain.geometry import full_photo
from finetune.explain.gradcam import GradCam
from finetune.explain.heatmap import Explainer, Heatmap
from finetune.explain.occlusion import Occlusion
from finetune.explain.overlay import overlay, png
from finetune.explain.saliency import Saliency
from models.errors import InputError
from models.files import check_writable, write_atomically
from models.wording import percent
from service.cli.terminal.messages import print_guesses, print_note
from service.cli.terminal.options import device_option, model_option
from service.cli.terminal.text import clean

METHODS = ("grad-cam", "saliency", "occlusion", "ascent")
# Options that only some methods know: option -> methods.
_ONLY = {
    "--cut": ("grad-cam",),
    "--label": ("grad-cam", "saliency", "occlusion"),
    "--top-k": ("grad-cam", "saliency", "occlusion"),
    "--unit": ("ascent",),
    "--steps": ("ascent",),
}


@click.command()
@click.argument("image", required=False, type=click.Path(path_type=Path))
@model_option
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="grad-cam",
    show_default=True,
    help="How to ask: by the last feature map, by the pixels' slopes, by hiding parts, or by gradient ascent.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME",
    help="Class to look for; may be repeated.  [default: the best guess, or the labels that hold]",
)
@click.option("--top-k", "-k", type=click.IntRange(1), help="Look for the K most probable classes.")
@click.option(
    "--cut",
    metavar="NAME",
    help="Feature map to look at (grad-cam).  [default: the last one before the classifier]",
)
@click.option(
    "--unit", metavar="NAME", help="What is to be excited (ascent): a class, or CUT:CHANNEL such as pool:7."
)
@click.option("--steps", type=click.IntRange(1), help=f"Steps to climb (ascent).  [default: {STEPS}]")
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
    image: Path | None,
    model: str,
    method: str,
    labels: tuple[str, ...],
    top_k: int | None,
    cut: str | None,
    unit: str | None,
    steps: int | None,
    out: Path | None,
    as_json: bool,
    device: str,
) -> None:
    """Show what in a photo speaks for a class, as a heat map over it.

    IMAGE is one photo. The map lies where the network has seen things; parts that it does not see, because
    preprocessing crops them, are darker. It says where evidence for the class lies, not that the class is right.

    With --method ascent the question is turned round: what does a class, or a channel, want to see? The picture begins
    as noise, or as IMAGE, and each step changes its pixels so that the unit answers more.
    """
    given = {"--cut": cut, "--label": labels, "--top-k": top_k, "--unit": unit, "--steps": steps}
    for option, methods in _ONLY.items():
        if given[option] not in (None, ()) and method not in methods:
            raise click.UsageError(f"{option} belongs to --method {' or '.join(methods)}, not to {method}.")
    if labels and top_k is not None:
        raise click.UsageError("--label names classes and --top-k counts them: give one of them.")
    if method == "ascent" and unit is None:
        raise click.UsageError("--method ascent needs --unit: a class, or CUT:CHANNEL such as pool:7.")
    if method != "ascent" and image is None:
        raise click.UsageError(f"--method {method} needs a photo: graft explain PHOTO.")
    out = out or Path(f"{image.stem}-explained.png" if image else f"{_file_name(unit or '')}-wanted.png")
    if out.suffix.lower() != ".png":
        raise click.UsageError(
            f"--out is {out}: overlays are PNG files. Name it {out.with_suffix('.png').name}."
        )
    if image and out.resolve() == image.resolve():
        raise InputError(f"{out}: is the photo itself, and would be lost. Choose another --out.")
    check_writable(out)
    if method == "ascent":
        _climb(model, unit or "", image, steps, out, as_json, device)
    elif image:
        explainer = _explainer(method, model, cut, device)
        print_guesses(model, explainer.notes)
        _explain(explainer, image, labels, top_k, out, as_json)


def _explainer(method: str, model: str, cut: str | None, device: str) -> Explainer:
    if method == "saliency":
        return Saliency(model, device=device)
    if method == "occlusion":
        return Occlusion(model, device=device)
    return GradCam(model, cut, device=device)


def _explain(
    explainer: Explainer, image: Path, labels: tuple[str, ...], top_k: int | None, out: Path, as_json: bool
) -> None:
    photo = full_photo(image)
    heatmaps = explainer.explain(image, labels, top_k=top_k)
    for rank, heat in enumerate(heatmaps, 1):
        file = out if len(heatmaps) == 1 else out.with_name(f"{out.stem}-{rank}{out.suffix}")
        write_atomically(file, png(overlay(photo, heat)))
        click.echo(
            json.dumps(_as_json(image, heat, file), ensure_ascii=False) if as_json else _text(heat, file)
        )
        if not heat.raw.any():
            print_note(f"Nothing at {heat.cut} speaks for {heat.label.name}: its map is empty.")


def _climb(
    model: str, unit: str, image: Path | None, steps: int | None, out: Path, as_json: bool, device: str
) -> None:
    ascent = Ascent(model, unit, device=device)
    print_guesses(model, ascent.notes)
    wanted = ascent.climb(image, steps=steps or STEPS)
    write_atomically(out, png(wanted.image))
    if as_json:
        answer = {"unit": unit, "before": wanted.before, "after": wanted.after, "picture": str(out)}
        click.echo(json.dumps(answer, ensure_ascii=False))
    else:
        click.echo(f"{clean(unit)}  from {wanted.before:.4g} to {wanted.after:.4g}  {clean(str(out))}")


def _file_name(unit: str) -> str:
    return "".join(sign if sign.isalnum() else "-" for sign in unit).strip("-")[:80] or "unit"


def _text(heat: Heatmap, file: Path) -> str:
    score = percent(heat.probability) if heat.probability is not None else f"{heat.value:.4g}"
    return f"{clean(heat.label.name)}  {score}  {clean(str(file))}"


def _as_json(image: Path, heat: Heatmap, file: Path) -> dict[str, Any]:
    return {
        "image": str(image),
        "overlay": str(file),
        "id": heat.label.id,
        "label": heat.label.name,
        "probability": heat.probability,
        "value": heat.value,
        "cut": heat.cut,
        "peak": heat.peak and [*heat.peak],  # x, y on the upright photo; null where the map is empty
        "seen": [round(edge, 1) for edge in heat.box],  # left, top, right, bottom
        "map": [[round(float(value), 4) for value in line] for line in heat.raw],
    }
