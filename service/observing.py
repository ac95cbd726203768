"""Around the application: each request gets a record, which metrics, traces and the access log are made from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from models.errors import InputError
from models.extras import how_to_install
from service.front.wsgi import BEGAN, NOTES, REQUEST_ID
from service.metrics import Metrics
from service.openapi.parameters import NoParameters
from service.openapi.routes import Routes
from service.records import RECORD, RequestRecord
from service.registry import Registry
from service.statistics import STATISTICS, Statistics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from service.tracing import Tracing

# In the application's extensions.
METRICS = "graft_metrics"  # `Metrics`
OBSERVER = "graft_observer"  # `Observer`


class Observer:
    """Writes down what becomes of requests, whichever way they came. Safe to use from all threads."""

    def __init__(self, hearers: Sequence[Metrics | Statistics], tracing: Tracing | None) -> None:
        """`hearers` hear of each request when its answer is made."""
        self._hearers, self._tracing = hearers, tracing

    @property
    def traces(self) -> bool:
        """Whether traces are made of requests, for which their headers are looked at."""
        return self._tracing is not None

    def begin(self, method: str, environ: Mapping[str, Any]) -> RequestRecord:
        """The record of a request that has come; `environ` is as WSGI has it."""
        record = RequestRecord(method, environ.get(REQUEST_ID, ""))
        record.began = environ.get(BEGAN, record.began)
        if self._tracing is not None:
            self._tracing.began(record, environ)
        return record

    def traceparent(self, record: RequestRecord) -> str | None:
        """The header that tells the client which span is its request's; None where no traces are made."""
        return None if self._tracing is None else self._tracing.traceparent(record)

    def finish(self, record: RequestRecord) -> Mapping[str, Any]:
        """The answer is made; gives what the access log tells of the request."""
        record.finish()
        if self._tracing is not None:
            self._tracing.ended(record)
        return record.notes()

    def count(self, record: RequestRecord) -> None:
        """Let all who hear of requests hear of this one."""
        for hearer in self._hearers:
            hearer.request(record)


class Observed:
    """A WSGI application whose requests are written down."""

    def __init__(self, app: WSGIApplication, observer: Observer) -> None:
        self._app, self._observer = app, observer

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, and write down what became of it."""
        record = environ[RECORD] = self._observer.begin(environ["REQUEST_METHOD"], environ)

        def start(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
        ) -> Callable[[bytes], object]:
            record.status = int(status[:3])
            traceparent = self._observer.traceparent(record)
            if traceparent is not None:
                headers = [*headers, ("traceparent", traceparent)]
            return start_response(status, headers, exc_info)

        try:
            body = self._app(environ, start)
        except Exception:
            # Whoever is in front answers, and counts that.
            record.status, record.error = 500, "InternalError"
            self._finish(record, environ)
            raise
        self._finish(record, environ)
        self._observer.count(record)
        return body

    def _finish(self, record: RequestRecord, environ: WSGIEnvironment) -> None:
        environ.get(NOTES, {}).update(self._observer.finish(record))


def open_tracing() -> Tracing:
    """Traces as the environment asks for them.

    Raises:
        InputError: OpenTelemetry is not installed.
    """
    try:
        from service.tracing import tracing_from_environment
    except ImportError as exc:
        raise InputError(
            f"tracing needs OpenTelemetry, which is not installed ({exc}). Install it with "
            f"{how_to_install('tracing')}; or serve without --tracing."
        ) from exc
    return tracing_from_environment()


def observe(app: Flask, models: Registry, tracing: Tracing | None) -> Routes:
    """Write down what `app` does over the models of a registry; gives the route that shows it, `/metrics`."""
    metrics = Metrics(models)
    statistics = app.extensions[STATISTICS] = Statistics()
    models.watchers += [metrics.run, statistics.run]
    if tracing is not None:
        models.watchers.append(tracing.run)

    def note_route() -> None:
        if request.url_rule is not None:
            request.environ[RECORD].route = request.url_rule.rule

    app.extensions[METRICS] = metrics
    app.before_request(note_route)
    # As Flask's documentation does.
    observer = app.extensions[OBSERVER] = Observer((metrics, statistics), tracing)
    app.wsgi_app = Observed(app.wsgi_app, observer)  # type: ignore[method-assign]
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

    @functools.lru_cache(maxsize=256)
    def rule(path: str, method: str) -> str:
        try:
            matched, _ = routes.match(unquote(path), method, return_rule=True)
        except HTTPException:
            return ""
        return matched.rule

    return rule
