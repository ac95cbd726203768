"""The application on a socket, behind the front."""

from __future__ import annotations

import dataclasses
import json
import ssl
from http.client import responses
from urllib.parse import unquote

from flask import Flask

from service.app import SHAPES
from service.direct import DIRECT
from service.front.gate import Routing
from service.front.limits import Limits
from service.front.requests import Refused
from service.front.server import Server
from service.headers import shared_with
from service.jobs.opening import SPOOL
from service.memory import return_freed_memory
from service.metrics import Metrics
from service.observing import METRICS, route_of
from service.protocols import admin, open_inference
from service.registry import Registry
from service.safety import unwelcome_in
from service.shapes import Refusal, shape_of

_INSTANT = frozenset({"/livez", "/readyz"})
_QUICK = (f"{admin.PREFIX}/", f"{open_inference.REPOSITORY}/")  # no images go there


def make_server(
    app: Flask,
    registry: Registry,
    host: str,
    port: int,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
) -> Server:
    """A server that is bound, and answers when it runs.

    Raises:
        InputError: the address is taken or does not exist.
    """
    limits = dataclasses.replace(limits or Limits(), body_bytes=registry.config.max_request_bytes)

    metrics: Metrics = app.extensions[METRICS]
    route = route_of(app)

    def stopping() -> None:
        registry.draining = True

    def refused(method: str, path: str, status: int) -> None:
        metrics.refused(route(path, method), method, status)

    routing = Routing(
        instant=_INSTANT,
        works=_works,
        retry_after=lambda: registry.seconds_to_empty,
        refusal=_refusal,
        stopping=stopping,
        relieved=return_freed_memory,
        refused=refused,
        shared=lambda origin: shared_with(origin, registry.config.cors_origins),
        unwelcome=unwelcome_in(app),
        spool=app.extensions.get(SPOOL),
        direct=app.extensions[DIRECT].steps,
    )
    return Server(app, routing, host, port, limits, tls, registry.turns)


def _works(method: str, path: str) -> bool:
    """Whether a request needs a worker: images do; loading a model takes a while, and must not keep them out."""
    return method == "POST" and not path.startswith(_QUICK)


def _refusal(path: str, refused: Refused) -> bytes:
    """What the front says in place of the application, in the form of the protocol that has the path."""
    kind = (
        "OverloadedError"
        if refused.status == 429
        else responses.get(refused.status, "Error").replace(" ", "")
    )
    refusal = Refusal(refused.status, kind, f"{refused.message}.", refused.request_id)
    return json.dumps(shape_of(SHAPES, unquote(path)).body(refusal)).encode() + b"\n"
