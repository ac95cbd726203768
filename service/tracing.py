"""OpenTelemetry traces: a span for each request, and in it one for each of its stages.

    POST /v1/classify            of the client's trace, where it sends `traceparent`
    ├── decode
    ├── queue
    ├── infer
    ├── encode
    └── run                      of the model, once for all requests that it links to; in the first one's trace

Spans are made when a request has ended, from what its record knows; until then nothing but its own is open.
Attributes follow OpenTelemetry's semantic conventions for HTTP and for RPC; those of ours begin with `graft.`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from models.version import __version__
from service.records import GRPC, RequestRecord
from service.tickets import BatchReport

_LAST_S = 3.0  # that the last spans may take at the end
_log = logging.getLogger("graft")
_PROPAGATOR = TraceContextTextMapPropagator()


class OpenTrace(NamedTuple):
    """What a record keeps of its trace: the request's span, and nanoseconds from the monotonic clock to the wall's."""

    span: Span
    offset: int


class Tracing:
    """Makes spans of requests and runs. Safe to use from all threads."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider
        self._tracer = provider.get_tracer("graft", __version__)

    def close(self) -> None:
        """Send what waits, for some seconds at most, and make no more."""
        closing = threading.Thread(target=self.provider.shutdown, name="graft-traces", daemon=True)
        closing.start()
        closing.join(_LAST_S)
        if closing.is_alive():  # nobody takes them, and the SDK goes on trying
            _log.warning("the last traces could not be sent within %g s", _LAST_S)

    def began(self, record: RequestRecord, environ: Mapping[str, Any]) -> None:
        """A request has come, perhaps as a part of a trace of its client."""
        carrier = {name: environ.get(f"HTTP_{name.upper()}", "") for name in ("traceparent", "tracestate")}
        offset = _offset()
        span = self._tracer.start_span(
            record.method,
            _PROPAGATOR.extract(carrier, Context()),
            SpanKind.SERVER,
            {
                **_asked(record.method, environ.get("PATH_INFO", "")),
                "client.address": environ.get("REMOTE_ADDR", ""),
            },
            start_time=_wall(record.began, offset),
        )
        record.trace = OpenTrace(span, offset)
        record.trace_id = f"{span.get_span_context().trace_id:032x}"

    def traceparent(self, record: RequestRecord) -> str:
        """The header that tells the client which span is its request's (W3C Trace Context)."""
        context = record.trace.span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def ended(self, record: RequestRecord) -> None:
        """A request has its answer."""
        span, offset = record.trace
        if span.is_recording():
            self._stages(record)
            if record.route:
                span.update_name(_name(record))
            known = {
                "http.route": record.route,
                "http.response.status_code": record.status,
                "error.type": record.error,
                "graft.model": record.model,
                "graft.model.version": record.version,
                "graft.images": record.images,
            }
            span.set_attributes({name: value for name, value in known.items() if value})
            if record.status >= 500:
                span.set_status(Status(StatusCode.ERROR))
        span.end(_wall(record.ended, offset))

    def run(self, name: str, version: int, report: BatchReport) -> None:
        """A model has run for some requests; the first of them whose trace is kept has the span."""
        traces = [ticket.owner.trace for ticket in report.tickets if ticket.owner is not None]
        spans = [trace.span for trace in traces if trace is not None and trace.span.is_recording()]
        if not spans:
            return
        offset = _offset()
        self._tracer.start_span(
            "run",
            set_span_in_context(spans[0], Context()),
            attributes={
                "graft.model": name,
                "graft.model.version": version,
                "graft.batch.size": report.size,
                "graft.batch.requests": len(report.tickets),
            },
            links=[Link(span.get_span_context()) for span in spans],
            start_time=_wall(report.began, offset),
        ).end(_wall(report.began + report.seconds, offset))

    def _stages(self, record: RequestRecord) -> None:
        span, offset = record.trace
        context = set_span_in_context(span, Context())
        for stage in record.stages:
            attributes: dict[str, str | int] = {
                "graft.model": record.model,
                "graft.model.version": record.version,
                "graft.images": stage.images,
            }
            if stage.largest_batch:
                attributes["graft.batch.size"] = stage.largest_batch
            self._tracer.start_span(
                stage.name, context, attributes=attributes, start_time=_wall(stage.began, offset)
            ).end(_wall(stage.ended, offset))


def _asked(method: str, path: str) -> dict[str, str]:
    """What is asked for, in the words of HTTP or of gRPC."""
    if method != GRPC:
        return {"http.request.method": method, "url.path": path}
    service, _, name = path.strip("/").partition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}


def _name(record: RequestRecord) -> str:
    return record.route.strip("/") if record.method == GRPC else f"{record.method} {record.route}"


def tracing_from_environment() -> Tracing:
    """Traces sent by OTLP over HTTP; where to, how many of them and under which name, say the SDK's variables."""
    resource = Resource.create({SERVICE_VERSION: __version__})
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "graft"}))
    # What Python would call at its end waits as long as the SDK likes.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)


def _offset() -> int:
    """Nanoseconds from the monotonic clock to the wall's at this moment, which may be set anew."""
    return time.time_ns() - time.monotonic_ns()


def _wall(moment: float, offset: int) -> int:
    return round(moment * 1e9) + offset
