"""`graft teach`: a page on which a model learns classes of your own."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.cli.terminal.messages import print_note
from service.cli.terminal.options import GroupedCommand, setting_options
from service.config import ServiceConfig

if TYPE_CHECKING:
    from service.configuration import Configuration

_HOST = "127.0.0.1"  # without tokens it is for whoever works at this machine
_AT_ONCE = {"measure_s": 0.0, "drain_s": 0.0}  # nobody waits for figures, and no load balancer is there


@click.command(cls=GroupedCommand)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--workspace", type=click.Path(path_type=Path), metavar="FOLDER",
    help="Folder that keeps datasets, jobs and models.  [default: one that is gone at the end]",
)  # fmt: skip
@click.option("--browser/--no-browser", default=True, help="Open the page in a browser.")
@setting_options(ServiceConfig, "datasets_root", flags={"datasets_root": ["--datasets-root"]}, multiple=True)
@setting_options(ServiceConfig, "disk_limit_gb", "job_memory_gb", "job_hours", "job_nice", "job_threads")
@click.option(
    "--port", default=0, type=click.IntRange(0, 65535), help="Port to listen on.  [default: a free one]"
)
def command(
    models: tuple[str, ...],
    workspace: Path | None,
    browser: bool,
    datasets_root: tuple[tuple[str, ...], ...],
    port: int,
    **options: object,
) -> None:
    """Open a page on which a model learns classes of your own, for you at this machine alone.

    MODELs, beside the built-in one, are there to try: names from `graft models list`, files, or folders of them.
    """
    from service.cli.serve.running import serve
    from service.configuration import read_configuration

    with contextlib.ExitStack() as context:
        folder = workspace or Path(context.enter_context(tempfile.TemporaryDirectory(prefix="graft-teach-")))
        if workspace is None:
            print_note(
                "What is taught here is gone when this ends: download what you want to keep, or name a --workspace "
                "FOLDER."
            )
        given = {
            **_AT_ONCE,
            **options,
            "host": _HOST,
            "port": port,
            "workspace": str(folder),
            "datasets_root": sum(datasets_root, ()),
            "models": models or ServiceConfig().models,
        }

        def read() -> Configuration:
            return read_configuration(given, {})

        def show(url: str) -> None:
            if browser:  # in a thread: some browsers keep whoever opens them waiting
                threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

        serve(read(), read, show)
