"""Traces, as OpenTelemetry's own exporter keeps them in memory."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.records import RequestRecord
from service.registry import Registry
from tests import optional
from tests.fixtures import plain
from tests.service.holding import WAIT_S, Held
from tests.service.serving import serving

optional.library("opentelemetry.sdk", extra="tracing")
optional.library("opentelemetry.exporter.otlp.proto.http", extra="tracing")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider  # noqa: E402 (what is skipped comes first)
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402
from opentelemetry.trace import StatusCode  # noqa: E402

from service.tracing import Tracing, tracing_from_environment  # noqa: E402

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Traces:
    """A provider whose spans stay here."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(self.provider)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def only(self, name: str) -> ReadableSpan:
        (span,) = (span for span in self.spans if span.name == name)
        return span

    def below(self, parent: ReadableSpan) -> list[str]:
        """Names of the spans in it, in the order of their time."""
        context = parent.get_span_context()
        children = [
            span for span in self.spans if span.parent and context and span.parent.span_id == context.span_id
        ]
        return [
            span.name for span in sorted(children, key=lambda span: (span.start_time or 0, span.end_time))
        ]


@pytest.fixture
def traces() -> Iterator[Traces]:
    traces = Traces()
    yield traces
    traces.provider.shutdown()


@pytest.fixture
def client(registry: Registry, traces: Traces) -> FlaskClient:
    return create_app(registry=registry, tracing=traces.tracing).test_client()


def classify(client: FlaskClient, address: str = "/v1/classify", **headers: str) -> Any:
    return client.post(address, data=plain("red"), content_type="image/png", headers=headers)


def test_the_end_does_not_wait_for_who_takes_no_traces(
    traces: Traces, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate, done = threading.Event(), threading.Event()
    monkeypatch.setattr("service.tracing._LAST_S", 0.01)
    monkeypatch.setattr(traces.provider, "shutdown", lambda: (gate.wait(60), done.set()))
    traces.tracing.close()
    assert not done.is_set()
    assert "could not be sent" in caplog.text
    gate.set()
    assert done.wait(60)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_request_is_a_tree_of_its_stages(client: FlaskClient, traces: Traces) -> None:
    assert classify(client).status_code == 200
    request = traces.only("POST /v1/classify")
    # It was alone: it waited for its turn at a core, and then for nobody.
    assert [name for name in traces.below(request) if name != "run"] == ["queue", "decode", "infer", "encode"]
    assert traces.only("run").parent.span_id == request.context.span_id
    assert len(traces.spans) == 6
    assert {span.context.trace_id for span in traces.spans if span.context} == {request.context.trace_id}
    assert request.parent is None
    assert request.kind.name == "SERVER"
    known = attributes(request)
    assert known["http.route"] == "/v1/classify"
    assert (known["http.response.status_code"], known["graft.model"], known["graft.model.version"]) == (
        200,
        "tiny",
        1,
    )
    assert known["graft.images"] == 1
    infer = attributes(traces.only("infer"))
    assert (infer["graft.model"], infer["graft.images"], infer["graft.batch.size"]) == ("tiny", 1, 1)
    for stage in ("decode", "queue", "infer", "encode"):
        span = traces.only(stage)
        assert request.start_time <= span.start_time <= span.end_time <= request.end_time


def test_traceparent_comes_in_and_goes_out(client: FlaskClient, traces: Traces) -> None:
    answer = classify(client, traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="vendor=1")
    request = traces.only("POST /v1/classify")
    assert f"{request.parent.span_id:016x}" == PARENT
    assert request.context.trace_state.get("vendor") == "1"
    assert answer.headers["traceparent"] == f"00-{TRACE}-{request.context.span_id:016x}-01"
    assert {f"{span.context.trace_id:032x}" for span in traces.spans} == {TRACE}


def test_what_the_client_does_not_keep_is_not_kept_here(client: FlaskClient, traces: Traces) -> None:
    answer = classify(client, traceparent=f"00-{TRACE}-{PARENT}-00")
    assert traces.spans == []
    assert answer.headers["traceparent"].startswith(f"00-{TRACE}-")
    assert answer.headers["traceparent"].endswith("-00")


@pytest.mark.parametrize(
    "given",
    ["", "nonsense", f"ff-{TRACE}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01,more"],
)
def test_a_traceparent_that_is_none_begins_a_trace(client: FlaskClient, traces: Traces, given: str) -> None:
    answer = classify(client, traceparent=given)
    request = traces.only("POST /v1/classify")
    assert request.parent is None
    assert TRACE not in answer.headers["traceparent"]


def test_a_run_links_to_all_requests_in_it(
    registry: Registry, traces: Traces, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = registry.get()
    held = Held(served, monkeypatch)
    image = np.zeros((16, 16, 3), np.uint8)
    first = served.batcher.submit([image], "results")
    assert held.entered.wait(WAIT_S)
    records = [RequestRecord("POST"), RequestRecord("POST"), RequestRecord("POST")]
    for record, flags in zip(records, ("00", "01", "01"), strict=True):
        environ = {"HTTP_TRACEPARENT": f"00-{TRACE}-{PARENT}-{flags}"}
        traces.tracing.began(record, environ)
    tickets = [served.batcher.submit([image] * 2, "results", owner=record) for record in records]
    held.leave.set()
    for ticket in (first, *tickets):
        ticket.result()
    run = traces.only("run")
    spans = [record.trace.span.get_span_context().span_id for record in records]
    assert [link.context.span_id for link in run.links] == spans[1:]
    assert run.parent is not None
    assert run.parent.span_id == spans[1]
    assert attributes(run) == {
        "graft.model": "tiny",
        "graft.model.version": 1,
        "graft.batch.size": 6,
        "graft.batch.requests": 3,
    }


def test_errors_are_named_and_faults_marked(
    client: FlaskClient, traces: Traces, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert classify(client, "/v1/classify?model=secret-name&label=x").status_code == 404
    span = traces.only("POST /v1/classify")
    assert (attributes(span)["error.type"], span.status.status_code) == (
        "UnknownModelError",
        StatusCode.UNSET,
    )
    assert "secret-name" not in str(attributes(span))
    monkeypatch.setattr(registry, "get", lambda *_: 1 / 0)
    assert client.get("/v1/models/tiny").status_code == 500
    span = traces.only("GET /v1/models/<name>")
    assert (attributes(span)["error.type"], span.status.status_code) == ("InternalError", StatusCode.ERROR)


def test_the_access_log_knows_the_trace(client: FlaskClient, traces: Traces) -> None:
    notes: dict[str, object] = {}
    client.get("/livez", environ_overrides={"graft.notes": notes})
    assert notes["trace_id"] == f"{traces.only('GET /livez').context.trace_id:032x}"


def test_the_environment_names_the_service_and_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.delenv("OTEL_RESOURCE_ATTRIBUTES", raising=False)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    assert service_name() == "graft"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "birds")
    assert service_name() == "birds"
    record = RequestRecord("GET")
    tracing = tracing_from_environment()
    tracing.began(record, {})
    assert not record.trace.span.is_recording()
    assert not int(tracing.traceparent(record)[-2:], 16) & 1  # the bit that says it is kept
    tracing.close()


def service_name() -> object:
    tracing = tracing_from_environment()
    name = tracing.provider.resource.attributes["service.name"]
    tracing.close()
    return name


def test_calls_of_grpc(traces: Traces, config: Any) -> None:
    optional.library("grpc", extra="grpc")
    from tests.service.grpc.client import INFERENCE, Client, infer

    with (
        serving(dataclasses.replace(config, grpc_port=0), tracing=traces.tracing) as service,
        Client(service.grpc_address) as client,
    ):
        metadata = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
        _, call = client.method("ModelInfer").with_call(infer().SerializeToString(), metadata=metadata)
    span = traces.only(f"{INFERENCE}/ModelInfer")
    context = span.get_span_context()
    assert context is not None
    assert span.parent is not None
    assert (f"{context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert dict(call.trailing_metadata())["traceparent"] == f"00-{TRACE}-{context.span_id:016x}-01"
    assert sorted(traces.below(span)) == ["decode", "encode", "infer", "queue", "run"]
    attributes = span.attributes or {}
    assert (attributes["rpc.system"], attributes["rpc.method"]) == ("grpc", "ModelInfer")
    assert (attributes["graft.model"], attributes["http.response.status_code"]) == ("tiny", 200)
