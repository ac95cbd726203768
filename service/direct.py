"""The routes that work in steps, answered without Flask's machinery, which takes half of what Python does for a photo.

Checks, views and headers are those of Flask's way. A request that has no answer goes back to the application for its
error, so that this is told the same way, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from flask import Flask, Request, Response
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_options_header

from service.front.wsgi import Answer, Call
from service.headers import addressed, with_usual
from service.observing import OBSERVER, Observer
from service.openapi.routes import Route, Routes
from service.records import RECORD
from service.registry import Registry
from service.safety import GUARD, Guard, Scope, access_of, check_request
from service.steps import Steps

DIRECT = "graft.direct"  # key of the app's extensions: `Direct`
_REMEMBERED = 256  # paths
# A route, its rule, who may call it, and what stands in the path.
Handler = tuple[Route, str, Scope, Mapping[str, str]]


class Direct:
    """Answers requests of an application in place of it, as far as their routes work in steps."""

    def __init__(self, app: Flask, registry: Registry, groups: Iterable[Routes]) -> None:
        """`groups`: the routes of `app`, all that are there."""
        self._app, self._registry = app, registry
        self._observer: Observer = app.extensions[OBSERVER]
        self._guard: Guard = app.extensions[GUARD]
        self._find = _finder(app, groups)

    def steps(self, call: Call) -> Steps[Answer] | None:
        """The answer to a request, to be made in steps; None where its route does not work so."""
        handler = self._find(call.method, call.target.partition("?")[0])
        return None if handler is None else self._answer(handler, call)

    def _answer(self, handler: Handler, call: Call) -> Steps[Answer]:
        route, rule, scope, path = handler
        # Where more of a request is looked at, it is Flask's own.
        light = not (
            self._guard.needs_no_token or self._registry.config.cors_origins or self._observer.traces
        )
        request = _Request(call) if light else self._app.request_class(call.environ())
        call.body = b""
        record = request.environ[RECORD] = self._observer.begin(call.method, request.environ)
        record.route = rule
        try:
            check_request(scope, request, self._guard)
            response = yield from route.steps(request, path)
        except Exception as exc:
            response = self._failure(exc, call, request)
        else:
            if not light:
                addressed(response, request, self._registry.config.cors_origins)
        record.status = response.status_code
        traceparent = self._observer.traceparent(record)
        if traceparent is not None:
            response.headers["traceparent"] = traceparent
        call.notes.update(self._observer.finish(record))
        self._observer.count(record)
        headers = [
            (name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.headers
        ]
        return Answer(record.status, with_usual(headers) if light else headers, response.get_data())

    def _failure(self, error: Exception, call: Call, request: Request) -> Response:
        """What the application answers where a view raises."""
        with self._app.request_context(call.environ() | request.environ):
            return self._app.finalize_request(self._app.handle_user_exception(error))


class _Request(Request):
    """What views in steps ask of a request: its environment as far as it is ours, its headers, type and query."""

    def __init__(self, call: Call) -> None:
        self.method, self.scheme, self._call = call.method, call.scheme, call
        self.environ = call.own_environ()
        self.headers = _Headers()  # type: ignore[assignment]
        for raw_name, raw_value in call.headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            self.headers[name] = f"{self.headers[name]},{value}" if name in self.headers else value
        self._kind, self._options = parse_options_header(self.headers.get("content-type"))

    @property
    def mimetype(self) -> str:
        """The content type without its parameters."""
        return self._kind.lower()

    @property
    def mimetype_params(self) -> dict[str, str]:
        """The parameters of the content type."""
        return self._options

    @functools.cached_property
    def args(self) -> MultiDict[str, str]:
        """The parameters in the address."""
        return Request(self._call.environ()).args if "?" in self._call.target else MultiDict()


class _Headers(dict[str, str]):
    """Headers by their names, in lower case as the front has them."""

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a header, whatever the case of its name."""
        return super().get(name.lower(), default)


def _finder(app: Flask, groups: Iterable[Routes]) -> Callable[[str, str], Handler | None]:
    """Tells for a method and a path, as it came, how it is answered here."""
    in_steps = {f"{group.name}.{route.name}": route for group in groups for route in group if route.in_steps}
    known = app.url_map.bind("")

    @functools.lru_cache(maxsize=_REMEMBERED)
    def find(method: str, path: str) -> Handler | None:
        try:
            rule, values = known.match(unquote(path), method, return_rule=True)
        except HTTPException:  # the application says what is there
            return None
        route = in_steps.get(rule.endpoint)
        if route is None or route.method != method:
            return None
        return route, rule.rule, access_of(rule), values

    return find
