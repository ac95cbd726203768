"""Around the application: each request gets a record, which metrics, traces and the access log are made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from service.front.wsgi import NOTES
from service.metrics import Metrics
from service.openapi.parameters import NoParameters
from service.openapi.routes import Routes
from service.records import RECORD, RequestRecord

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

METRICS = "graft_metrics"  # in the application's extensions: `Metrics`


class Observed:
    """A WSGI application whose requests are written down."""

    def __init__(self, app: WSGIApplication, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, and write down what became of it."""
        record = environ[RECORD] = RequestRecord(environ["REQUEST_METHOD"])

        def start(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
        ) -> Callable[[bytes], object]:
            record.status = int(status[:3])
            return start_response(status, headers, exc_info)

        body = self._app(environ, start)
        record.finish()
        self._metrics.request(record)
        environ.get(NOTES, {}).update(record.notes())
        return body


def observe(app: Flask, metrics: Metrics) -> Routes:
    """Write down what `app` does; gives the route that shows it, `/metrics`."""

    def note_route() -> None:
        if request.url_rule is not None:
            request.environ[RECORD].route = request.url_rule.rule

    app.extensions[METRICS] = metrics
    app.before_request(note_route)
    app.wsgi_app = Observed(app.wsgi_app, metrics)  # type: ignore[method-assign]  # as Flask's documentation does
    routes = Routes("metrics")

    @routes.get("/metrics", answer={"text/plain": str, "application/openmetrics-text": str})
    def figures(_: NoParameters) -> Response:
        """Gives the figures of the service as Prometheus reads them."""
        text, content_type = metrics.page(request.headers.get("Accept", ""))
        return Response(text, content_type=content_type)

    return routes


def route_of(app: Flask) -> Callable[[str, str], str]:
    """Tells the rule that a path (as it came, still quoted) and a method have in `app`; "" for none."""
    routes = app.url_map.bind("")

    def rule(path: str, method: str) -> str:
        try:
            matched, _ = routes.match(unquote(path), method, return_rule=True)
        except HTTPException:
            return ""
        return matched.rule

    return rule
