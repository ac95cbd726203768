"""Options that several commands have, and how a model is opened with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from models.model import Model
from models.runtime import RuntimeConfig
from service.cli.terminal.messages import print_guesses
from service.cli.terminal.progress import download_progress

Command = TypeVar("Command", bound=Callable[..., Any])

model_option = click.option(
    "--model", "-m", default="builtin", show_default=True, metavar="MODEL",
    help="A name from `graft models list`, or an ONNX file.",
)  # fmt: skip
device_option = click.option(
    "--device", default="auto", show_default=True, metavar="DEVICE", help="auto, cpu, cuda, cuda:1, ..."
)
_threads = click.option(
    "--threads", type=click.IntRange(1), help="Threads of one run of the model.  [default: one a core]"
)


def device_options(command: Command) -> Command:
    """Add --device and --threads."""
    return device_option(_threads(command))


def open_model(spec: str, device: str, threads: int | None, *, outputs: Sequence[str] | None = None) -> Model:
    """Open a model for many images; what had to be guessed about it goes to standard error.

    Raises:
        GraftError: as `Model.open`.
    """
    config = RuntimeConfig(device, threads)
    with download_progress() as progress:
        model = Model.open(spec, config, outputs=outputs, progress=progress)
    print_guesses(spec, model.notes)
    return model
