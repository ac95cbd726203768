"""The Flask application, made from a config."""

from __future__ import annotations

from typing import cast

from flask import Flask
from flask.json.provider import DefaultJSONProvider

from service.config import ServiceConfig
from service.errors import handle_errors
from service.health import health
from service.metrics import Metrics
from service.observing import observe
from service.protocols import v1
from service.registry import Registry

# Each is a module of service/protocols; what it names makes its routes, over the models of a registry.
PROTOCOLS = (v1.routes,)


def create_app(config: ServiceConfig | None = None, registry: Registry | None = None) -> Flask:
    """The application that answers over HTTP.

    Without a `registry` the models of `config` are loaded before this returns; with one, whoever made it loads it,
    and until then `/readyz` says so.

    Raises:
        GraftError: a model cannot be loaded.
    """
    if registry is None:
        registry = Registry(config or ServiceConfig())
        registry.load()
    app = Flask("graft", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = registry.config.max_request_bytes
    cast(DefaultJSONProvider, app.json).sort_keys = False
    observe(app, Metrics(registry))
    for blueprint in (*(protocol(registry) for protocol in PROTOCOLS), health(registry)):
        app.register_blueprint(blueprint)
    handle_errors(app)
    return app
