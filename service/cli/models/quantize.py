"""`graft models quantize`: a smaller and faster version of a model, in eight bits."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from feature_extraction.quantized import decoded, sample
from feature_extraction.sources import images
from models.agreement import VersionComparison, compare
from models.card import ModelCard
from models.errors import ModelError
from models.features import default_cuts
from models.files import check_writable, write_atomically
from models.importing import as_graft_model
from models.locating import locate
from models.metadata import REFERENCE
from models.model import Model
from models.names import LOGITS
from models.proof_making import try_to_write_proof
from models.quantization import SUFFIX, quantize
from models.runtime import RuntimeConfig
from models.wording import percent, size
from service.cli.terminal.messages import print_error, print_guesses, print_note, print_warning
from service.cli.terminal.options import device_options
from service.cli.terminal.progress import download_progress
from service.cli.terminal.text import columns

_HELD_OUT = 200  # images on which both versions are compared, at most


@click.command()
@click.argument("model")
@click.option(
    "--calibrate",
    required=True,
    metavar="SOURCE",
    help="Images such as the model will see: a folder, zip, ...",
)
@click.option(
    "--out", "--output", "-o", "out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="File to write.  [default: NAME.int8.onnx]",
)  # fmt: skip
@click.option(
    "--images",
    "count",
    type=click.IntRange(1),
    default=128,
    show_default=True,
    help="Images to calibrate with.",
)
@click.option(
    "--threshold", type=click.FloatRange(0, 1), default=0.9, show_default=True,
    help="Agreement (or cosine, of a features model) below which nothing is written.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Write it all the same.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
@device_options
def command(
    model: str,
    calibrate: str,
    out: Path | None,
    count: int,
    threshold: float,
    force: bool,
    as_json: bool,
    device: str,
    threads: int | None,
) -> None:
    """Make an int8 version of a model, and compare both on images that it was not calibrated with.

    Weights and activations become integers of eight bits; the ends of the network stay in float32. How much faster
    that is depends on the processor: measure it here.
    """
    if out is not None:
        check_writable(out)
    with download_progress() as progress:
        path = locate(model, progress=progress)
    proto, notes = as_graft_model(path)
    print_guesses(model, notes)
    config = RuntimeConfig(device, threads)
    made = {name for node in proto.graph.node for name in node.output}
    outputs = list(dict.fromkeys([*default_cuts(proto), *({LOGITS} & made)]))
    before = Model.open(path, config, outputs=outputs)
    chosen = sample(images(calibrate), count + _HELD_OUT)
    split = min(count, (len(chosen) + 1) // 2)
    int8 = quantize(proto, decoded(before.card, chosen[:split], print_error))
    if missing := try_to_write_proof(int8):
        print_warning(missing)
    quantized = int8.SerializeToString()
    out = out or Path(f"{before.card.name}{SUFFIX}.onnx")
    trial = out.with_name(f".{out.name}.trial")
    write_atomically(trial, quantized)
    try:
        after = Model.open(trial, config, outputs=outputs)
        result = compare(before, after, decoded(before.card, chosen[split:] or chosen, print_error))
    finally:
        trial.unlink()
    sizes = path.stat().st_size, len(quantized)
    if as_json:
        click.echo(json.dumps(_as_json(result, sizes, model, out), indent=2))
    else:
        click.echo(_text(result, sizes))
    reached = result.cosine if result.agreement is None else result.agreement
    if reached < threshold and not force:
        kind = "cosine" if result.agreement is None else "agreement"
        raise ModelError(
            f"{model}: the int8 version reaches {reached:.3f} in {kind}; expected {threshold} at least. Nothing was "
            "written. Calibrate with more images, or more like those that it will see; or write it with --force."
        )
    write_atomically(out, quantized)
    if (caution := _caution(before.card)) is not None:
        print_note(caution)
    if any(entry.key == REFERENCE for entry in proto.metadata_props):
        print_note(
            "It tells nothing of its training images any more: a service cannot see whether it is shown others."
        )
    click.echo(f"{out}: {size(sizes[1])}", err=as_json)


def _caution(card: ModelCard) -> str | None:
    """What of a fine-tuned model eight bits may shift."""
    width = card.target is not None and card.target.half_width is not None
    if card.reject is None and not width:
        return None
    what = 'threshold for "none of these"' if card.reject is not None else "interval"
    return (
        f"The {what} was set on the float32 version. See with `graft evaluate` what it does on this one, or quantize "
        "the network before it is fine-tuned."
    )


def _text(result: VersionComparison, sizes: tuple[int, int]) -> str:
    rows = [("", "float32", "int8", "")]
    rows.append(("  size", size(sizes[0]), size(sizes[1]), f"{sizes[0] / sizes[1]:.1f} times smaller"))
    faster = result.speed_after / result.speed_before
    rows.append(
        (
            "  images/s",
            f"{result.speed_before:,.1f}",
            f"{result.speed_after:,.1f}",
            f"{faster:.2f} times as fast",
        )
    )
    cosine = f"mean {result.cosine:.4f}, least {result.cosine_min:.4f}"
    rows.append(("  cosine", "", "", f"{cosine}, on {result.images} images that it was not calibrated with"))
    if result.agreement is not None:
        rows.append(("  agreement", "", "", f"{percent(result.agreement)} have the same best class"))
    return columns(rows, right=(1, 2))


def _as_json(result: VersionComparison, sizes: tuple[int, int], model: str, out: Path) -> dict[str, Any]:
    values = dataclasses.asdict(result)
    return {"model": model, "output": str(out), "bytes_before": sizes[0], "bytes_after": sizes[1], **values}
