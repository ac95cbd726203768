"""`graft serve`: answer over HTTP."""

from __future__ import annotations

import dataclasses
import threading

import click

from service.app import create_app
from service.cli.terminal.messages import print_guesses
from service.cli.terminal.options import device_options
from service.config import ServiceConfig
from service.front.limits import Limits
from service.registry import Registry
from service.server import make_server


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one."
)
@device_options
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=Limits.workers,
    show_default=True,
    help="Requests that are worked on at once; the others are told when to come again.",
)
@click.option(
    "--max-request-mb", type=click.IntRange(1), default=64, show_default=True, help="Largest request, in MB."
)
def command(
    models: tuple[str, ...],
    host: str,
    port: int,
    device: str,
    threads: int | None,
    workers: int,
    max_request_mb: int,
) -> None:
    """Serve models over HTTP until stopped.

    MODEL is a name from `graft models list` or an ONNX file; name=FILE gives a file another name. The first one
    answers where a request names none. Without any, the built-in model is served.
    """
    config = ServiceConfig(
        models=models or ("builtin",),
        runtime=dataclasses.replace(ServiceConfig().runtime, device=device, threads=threads),
        max_request_bytes=max_request_mb << 20,
    )
    registry = Registry(config)
    server = make_server(create_app(registry=registry), registry, host, port, Limits(workers=workers))
    server.stop_on_signals()
    click.echo(f"{server.url}  loading {', '.join(registry.specs)}")
    failure: list[Exception] = []

    def load() -> None:
        try:
            registry.load()
        except Exception as exc:  # raised again in the main thread
            failure.append(exc)
            server.stop()
            return
        for served in registry.served.values():
            where = served.model.session.device
            click.echo(f"{server.url}  {served.name} on {where} ({where.reason}); {served.plan}")
            print_guesses(served.name, served.model.notes)
        click.echo(f"{server.url}  ready; try: curl -F image=@photo.jpg {server.url}/v1/classify")

    threading.Thread(target=load, name="graft-load", daemon=True).start()
    server.run()
    if failure:
        raise failure[0]
    click.echo("stopped")
