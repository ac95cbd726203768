"""`graft models`: the commands about models themselves."""

from __future__ import annotations

import click

from service.cli.terminal.lazy import LazyGroup

COMMANDS = {
    "list": ("service.cli.models.listing", "List the models that are known by name."),
    "info": ("service.cli.models.info", "Show what a model says about itself."),
    "cuts": ("service.cli.models.cuts", "List the places where a model can be cut."),
    "pull": ("service.cli.models.pull", "Download a model and build its ONNX file."),
    "import": ("service.cli.models.importing", "Make any ONNX network explain itself."),
    "quantize": ("service.cli.models.quantize", "Make an int8 version, and compare it."),
    "any-size": ("service.cli.models.any_size", "Make a file for other runtimes that resizes photos itself."),
}


@click.group(cls=LazyGroup, table=COMMANDS)
def command() -> None:
    """List, inspect, download and import models."""
