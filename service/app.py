"""The Flask application, made from a config."""

from __future__ import annotations

from typing import cast

from flask import Flask
from flask.json.provider import DefaultJSONProvider

from service.config import ServiceConfig
from service.errors import handle_errors
from service.health import health
from service.protocols.v1 import v1
from service.registry import Registry


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
    app.register_blueprint(v1(registry))
    app.register_blueprint(health(registry))
    handle_errors(app)
    return app
