"""The routes that work in steps, answered without Flask's machinery, which takes half of what Python does for a photo.

Checks, views and headers are those of Flask's way. A request that has no answer goes back to the application for its
error, so that this is told the same way, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import unquote

from flask import Flask, Request, Response
from werkzeug.exceptions import HTTPException

from service.front.wsgi import NOTES, Answer, Call
from service.headers import addressed
from service.observing import OBSERVER, Observer
from service.openapi.routes import Route, Routes
from service.records import RECORD
from service.registry import Registry
from service.safety import GUARD, Guard, Scope, access_of, check_request
from service.steps import Steps

DIRECT = "graft.direct"  # key of the app's extensions: `Direct`
_REMEMBERED = 256  # paths
Handler = tuple[
    Route, str, Scope, Mapping[str, str]
]  # with the rule, who may call it, and what stands in the path


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
        environ = call.environ()
        call.body = b""
        record = environ[RECORD] = self._observer.begin(call.method, environ)
        record.route = rule
        request = self._app.request_class(environ)
        try:
            check_request(scope, request, self._guard)
            response = yield from route.steps(request, path)
        except Exception as exc:
            response = self._failure(exc, request)
        else:
            addressed(response, request, self._registry.config.cors_origins)
        record.status = response.status_code
        traceparent = self._observer.traceparent(record)
        if traceparent is not None:
            response.headers["traceparent"] = traceparent
        environ[NOTES].update(self._observer.finish(record))
        self._observer.count(record)
        headers = [
            (name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.headers
        ]
        return Answer(record.status, headers, response.get_data())

    def _failure(self, error: Exception, request: Request) -> Response:
        """What the application answers where a view raises."""
        with self._app.request_context(request.environ):
            return self._app.finalize_request(self._app.handle_user_exception(error))


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
