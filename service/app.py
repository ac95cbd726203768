"""The Flask application, made from a config."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import Flask
from flask.json.provider import DefaultJSONProvider
from werkzeug.routing import BaseConverter

from service.config import ServiceConfig
from service.direct import DIRECT, Direct
from service.errors import handle_errors
from service.headers import address_browsers
from service.health import health
from service.jobs.opening import SPOOL, teaching_of, teaching_routes
from service.jobs.workspace_routes import workspace_routes
from service.observing import observe, open_tracing
from service.openapi.pages import description
from service.page.routes import page
from service.protocols import (
    admin,
    admin_shadows,
    hugging_face,
    open_inference,
    openai,
    tensorflow_serving,
    v1,
    watching,
)
from service.protocols.protocol import Protocol
from service.registry import Registry
from service.safety import ACCESS, Guard, guard_of, protect
from service.shapes import GRAFT

if TYPE_CHECKING:
    from service.jobs.teaching import Teaching
    from service.tracing import Tracing

# Each is a module of service/protocols: what makes its routes, over the models of a registry, and how it tells of
# failures. Who may call them stands in service/safety.py.
PROTOCOLS = (
    Protocol((v1.routes, watching.routes)),
    Protocol((admin.routes, admin_shadows.routes)),
    Protocol(open_inference.GROUPS, open_inference.SHAPE),
    Protocol((tensorflow_serving.routes,), tensorflow_serving.SHAPE),
    Protocol((hugging_face.routes,), hugging_face.SHAPE),
    Protocol((openai.routes,), openai.SHAPE),
)
SHAPES = tuple(protocol.shape for protocol in PROTOCOLS if protocol.shape is not GRAFT)


class _Name(BaseConverter):
    """A name in a path. It has no colon: behind one stands what is to be done, in addresses of TensorFlow Serving."""

    regex = "[^/:]+"


def create_app(
    config: ServiceConfig | None = None,
    registry: Registry | None = None,
    guard: Guard | None = None,
    tracing: Tracing | None = None,
    teaching: Teaching | None = None,
) -> Flask:
    """The application that answers over HTTP.

    Without a `registry` the models of `config` are loaded before this returns; with one, whoever made it loads it,
    and until then `/readyz` says so. Without a `guard` the tokens are those that the configuration names; without
    `tracing` traces are made where that asks for them; and without `teaching` the workspace that it names is opened.

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
    app.url_map.converters["default"] = _Name
    if teaching is None and (teaching := teaching_of(registry)) is not None:
        teaching.start()
    groups = [
        *(group(registry) for protocol in PROTOCOLS for group in protocol.groups),
        page(),
        health(registry),
        observe(app, registry, tracing),
        workspace_routes(teaching),
        *teaching_routes(teaching),
    ]
    groups.append(description(groups, ACCESS))
    for group in groups:
        app.register_blueprint(group.blueprint())
    if teaching is not None:
        app.extensions[SPOOL] = teaching.spool
    protect(app, guard or guard_of(registry.config))
    handle_errors(app, SHAPES)
    app.extensions[DIRECT] = Direct(app, registry, groups)
    address_browsers(app, lambda: registry.config.cors_origins)
    return app
