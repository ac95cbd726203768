"""A service that runs in the foreground and says on standard output what happens to it."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable

import click

from service.cli.terminal.messages import print_note
from service.cli.terminal.text import clean
from service.configuration import Configuration
from service.lifecycle import Service
from service.logs import log_lines


def serve(
    configuration: Configuration,
    read: Callable[[], Configuration],
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve a configuration until somebody stops it; `ready` hears the address once all models answer.

    Raises:
        GraftError: as `Service` and its `run`.
    """
    form = configuration.config.log
    log = logging.getLogger("graft")

    # A terminal that has gone, or a pipe that nobody reads, is no reason to stop in the middle of a change.
    def say(text: str, **facts: object) -> None:
        if facts.get("event") == "ready":
            ready(service.server.url)
        if form == "json":
            log.info("%s", text, extra={"url": service.server.url, **facts})
        else:
            with contextlib.suppress(OSError):
                click.echo(f"{service.server.url}  {clean(text)}")

    def warn(text: str, **facts: object) -> None:
        if form == "json":
            log.warning("%s", text, extra=facts)
        else:
            with contextlib.suppress(OSError):
                print_note(text)

    with log_lines(sys.stdout, form) as lines:
        service = Service(configuration, read, say, warn)
        service.run()
        if form == "json":
            log.info("stopped", extra={"event": "stopped"})
    if form == "text" and lines.drained:  # else nobody reads, and the end would have to wait
        click.echo("stopped")
