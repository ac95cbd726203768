"""`graft serve`: answer over HTTP."""

from __future__ import annotations

import threading
from typing import Any

import click

from models.settings import updated
from service.app import create_app
from service.cli.terminal.messages import print_guesses
from service.cli.terminal.options import device_options, setting_options
from service.config import ServiceConfig
from service.front.limits import Limits
from service.registry import Registry
from service.server import make_server


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@setting_options(ServiceConfig, "host", "port")
@device_options
@setting_options(Limits, "workers")
@setting_options(ServiceConfig, "max_request_mb")
def command(models: tuple[str, ...], workers: int, **options: Any) -> None:
    """Serve models over HTTP until stopped.

    MODEL is a name from `graft models list` or an ONNX file; name=FILE gives a file another name. The first one
    answers where a request names none. Without any, the built-in model is served.
    """
    config = updated(ServiceConfig(), {"models": models or ServiceConfig.models, **options})
    registry = Registry(config)
    server = make_server(
        create_app(registry=registry), registry, config.host, config.port, Limits(workers=workers)
    )
    server.stop_on_signals()
    click.echo(f"{server.url}  loading {', '.join(registry.loading)}")
    failure: list[Exception] = []

    def load() -> None:
        try:
            registry.load()
        except Exception as exc:  # raised again in the main thread
            failure.append(exc)
            server.stop()
            return
        for served in registry.served:
            where = served.model.session.device
            click.echo(f"{server.url}  {served.name} on {where} ({where.reason}); {served.plan}")
            print_guesses(served.name, served.model.notes)
        click.echo(f"{server.url}  ready; try: curl -F image=@photo.jpg {server.url}/v1/classify")

    threading.Thread(target=load, name="graft-load", daemon=True).start()
    server.run()
    if failure:
        raise failure[0]
    click.echo("stopped")
