"""The Flask application, made from a config."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import Flask
from flask.json.provider import DefaultJSONProvider

from service.config import ServiceConfig
from service.errors import handle_errors
from service.headers import address_browsers
from service.health import health
from service.observing import observe, open_tracing
from service.openapi.pages import description
from service.protocols import admin, v1
from service.registry import Registry
from service.safety import ACCESS, Guard, guard_of, protect

if TYPE_CHECKING:
    from service.tracing import Tracing

# Each is a module of service/protocols; what it names makes its routes, over the models of a registry. Who may call
# them stands in service/safety.py.
PROTOCOLS = (v1.routes, admin.routes)


def create_app(
    config: ServiceConfig | None = None,
    registry: Registry | None = None,
    guard: Guard | None = None,
    tracing: Tracing | None = None,
) -> Flask:
    """The application that answers over HTTP.

    Without a `registry` the models of `config` are loaded before this returns; with one, whoever made it loads it,
    and until then `/readyz` says so. Without a `guard` the tokens are those that the configuration names; without
    `tracing` traces are made where that asks for them.

    Raises:
        GraftError: a model, the file of tokens, or what makes traces cannot be loaded.
    """
    if registry is None:
        registry = Registry(config or ServiceConfig())
        registry.load()
    app = Flask("graft", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = registry.config.max_request_bytes
    cast(DefaultJSONProvider, app.json).sort_keys = False
    # `//` is no `/`: the redirect would be a page, and a client that posts would lose its body.
    app.url_map.merge_slashes = False
    if tracing is None and registry.config.tracing:
        tracing = open_tracing()
    groups = [
        *(protocol(registry) for protocol in PROTOCOLS),
        health(registry),
        observe(app, registry, tracing),
    ]
    for group in (*groups, description(groups, ACCESS)):
        app.register_blueprint(group.blueprint())
    protect(app, guard or guard_of(registry.config))
    handle_errors(app)
    address_browsers(app, lambda: registry.config.cors_origins)
    return app
