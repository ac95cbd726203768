"""What an imported network says of a photo, under each way to scale its pixels that the file leaves open."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
from onnx import TensorProto

from models.card import SCALES, ModelCard
from models.conventions import ALTERNATIVES
from models.errors import InputError, NumericsError
from models.graph import element_type
from models.import_options import ImportOptions
from models.importing import import_model
from models.loading import load
from models.model import Model
from models.runtime import RuntimeConfig
from models.serialized import session_of
from models.wording import percent
from service.cli.terminal.text import clean

_TOP = 5


def print_check(file: Path, asked: ImportOptions, card: ModelCard, photo: Path) -> None:
    """Print the most probable classes of a photo under each convention, the one that was taken first.

    Raises:
        InputError: the network gives no classes.
        ImageError: the photo cannot be read.
    """
    if not card.labels:
        raise InputError(f"{file}: gives features, and --check compares classes. Leave it out.")
    pixels = card.preprocessing.load(photo)[None]
    taken = next((name for name, known in SCALES.items() if known == card.normalization), None)
    takes_bytes = element_type(load(str(file)).graph.input[0]) == TensorProto.UINT8
    others = [way for way in ALTERNATIVES if way[0] == "0..255" or not takes_bytes]
    ways = [(taken or card.normalization, card.channels), *others]
    click.echo(f"{clean(str(photo))} under each way to scale pixels:")
    for place, (scale, channels) in enumerate(dict.fromkeys(ways)):
        proto, _ = import_model(file, dataclasses.replace(asked, scale=scale, channels=channels))
        model = Model(session_of(proto, RuntimeConfig(device="cpu")), card)
        name = scale if isinstance(scale, str) else "as given"
        mark = "  (taken)" if place == 0 else ""
        click.secho(f"  --scale {name} --channels {channels}{mark}", bold=True)
        try:
            probabilities = model.probabilities(pixels)[0]
        except NumericsError:  # half precision may not reach as far as 255
            click.echo("    NaN or infinity: it does not take pixels so")
            continue
        for guess in model.top(probabilities, _TOP):
            click.echo(f"    {percent(guess.probability):>7}  {clean(guess.label.name)}")
