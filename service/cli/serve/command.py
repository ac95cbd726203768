"""`graft serve`: answer over HTTP."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from models.settings import settings_of
from service.cli.terminal.options import Command, GroupedCommand, HeadedOption, setting_options
from service.config import ServiceConfig, service_settings
from service.front.limits import Limits

if TYPE_CHECKING:
    from service.configuration import Configuration

_MANY = {
    "labels": "--label",
    "repository": "--repository",
    "shadows": "--shadow",
    "datasets_root": "--datasets-root",
}  # options that may be given several times


def _options(command: Command) -> Command:
    """All settings of the service but `models`, which are the arguments."""
    names = [name for name in service_settings() if name != "models"]
    of_front = [name for name in names if name in settings_of(Limits)]
    of_service = [name for name in names if name not in of_front and name not in _MANY]
    many = [
        setting_options(ServiceConfig, name, flags={name: [flag]}, multiple=True)
        for name, flag in _MANY.items()
    ]
    every: list[Callable[[Command], Command]] = [
        *many,
        setting_options(ServiceConfig, *of_service),
        setting_options(Limits, *of_front, heading="Connections"),
    ]
    for decorate in reversed(every):
        command = decorate(command)
    return command


@click.command(
    cls=GroupedCommand,
    epilog="Each option can stand in the file by the name of its setting (max_images = 8; --check lists all names), "
    "and in the environment by GRAFT_SERVE_ and the name (GRAFT_SERVE_MAX_IMAGES=8); PORT is heeded too. An option "
    "comes before the environment, and that before the file.",
)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--config", "file", type=click.Path(path_type=Path), metavar="FILE", help="A file of settings, TOML.",
    cls=HeadedOption, heading="Configuration",
)  # fmt: skip
@click.option(
    "--check", "only_check", is_flag=True, cls=HeadedOption, heading="Configuration",
    help="Say what would be served and where each setting comes from, and whether it would work; serve nothing.",
)  # fmt: skip
@_options
@click.pass_context
def command(ctx: click.Context, /, file: Path | None, only_check: bool, **options: Any) -> None:
    """Serve models over HTTP until stopped.

    MODEL is a name from `graft models list`, an ONNX file, or a folder of them; name=FILE gives a file another name.
    The first one answers where a request names none. Without any, the built-in model is served.
    """
    from service.configuration import read_configuration

    given = given_settings(ctx, options)

    def read() -> Configuration:
        return read_configuration(given, os.environ, file)

    configuration = read()
    if only_check:
        from service.cli.serve.check import check

        ctx.exit(0 if check(configuration) else 2)
    from service.cli.serve.running import serve

    serve(configuration, read)


def given_settings(ctx: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """The settings, by name, that stand on the command line."""
    return {
        name: sum(value, ()) if name in _MANY else value
        for name, value in options.items()
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
