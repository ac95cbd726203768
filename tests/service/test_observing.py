"""What is seen of a service on a socket of this machine: refusals of the front, figures while all workers are busy."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import queue
import threading
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.app import create_app
from service.front.limits import Limits
from service.front.server import Server
from service.registry import Registry
from service.server import make_server
from tests.fixtures import plain
from tests.service.holding import WAIT_S, Held

pytestmark = pytest.mark.smoke
PHOTO = {"Content-Type": "image/png"}


@pytest.fixture
def server(registry: Registry) -> Iterator[Server]:
    """The service with one worker, in a thread."""
    limits = Limits(workers=1, header_bytes=2000, drain_s=0.0)
    server = make_server(create_app(registry=registry), registry, "127.0.0.1", 0, limits)
    running = threading.Thread(target=server.run)
    running.start()
    while running.is_alive():  # it listens from some moment of `run` on
        with contextlib.suppress(ConnectionRefusedError):
            ask(server, "GET", "/livez")
            break
    yield server
    server.stop()
    running.join()


def ask(
    server: Server, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, str]:
    with contextlib.closing(http.client.HTTPConnection(server.host, server.port, timeout=120)) as connection:
        connection.request(method, path, body, headers)
        with connection.getresponse() as response:
            return response.status, response.headers, response.read().decode()


def value(page: str, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


def test_figures_are_read_while_all_workers_are_busy_and_refusals_are_counted(
    server: Server, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(registry.get(), monkeypatch)
    statuses: list[int] = []
    worked_on = threading.Thread(
        target=lambda: statuses.append(ask(server, "POST", "/v1/classify", plain("red"), **PHOTO)[0])
    )
    worked_on.start()
    try:
        assert held.entered.wait(WAIT_S)
        assert ask(server, "POST", "/v1/classify?top_k=1", plain("red"), **PHOTO)[0] == 429
        assert ask(server, "POST", "/no/such/path", b"x")[0] == 429
        status, headers, page = ask(server, "GET", "/metrics")
        assert statuses == []
    finally:
        held.leave.set()
        worked_on.join()
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert statuses == [200]
    assert value(page, "graft_rejections_total", reason="workers") == 2
    refused = {"method": "POST", "status": "429"}
    assert value(page, "graft_requests_total", route="/v1/classify", **refused) == 1
    assert value(page, "graft_requests_total", route="other", **refused) == 1
    assert value(page, "graft_requests_total", route="/v1/classify", method="POST", status="200") is None


def test_refusals_of_the_front_have_the_form_of_the_protocol(server: Server) -> None:
    texts = ("/v2/models/tiny/infer", "/v2%2Fmodels", "/v1/models/tiny:predict", "/models/tiny")
    own = {"type", "message", "request_id"}
    forms = {
        "/v1/classify": own,
        "/v1/models/tiny": own,
        "/v1/embeddings": {"message", "type", "param", "code"},
    }
    for path in (*texts, *forms):
        status, _, body = ask(server, "POST", path, None, **{"Content-Length": str(2 << 20)})
        told = json.loads(body)["error"]
        assert status == 413
        assert isinstance(told, str) if path in texts else set(told) == forms[path]


def test_what_is_no_request_is_counted_too(server: Server) -> None:
    assert ask(server, "GET", "/livez", **{"X-Long": "x" * 3000})[0] == 431
    assert ask(server, "POST", "/v1/classify", b"x", Expect="a-miracle")[0] == 417
    assert ask(server, "POST", "/v1/classify", None, **{"Content-Length": str(2 << 20)})[0] == 413
    assert ask(server, "GET", "/v1/models/some%20name", Expect="a-miracle")[0] == 417
    page = ask(server, "GET", "/metrics")[2]
    assert value(page, "graft_rejections_total", reason="large") == 2
    assert value(page, "graft_rejections_total", reason="malformed") == 2
    assert value(page, "graft_requests_total", route="/v1/models/<name>", method="GET", status="417") == 1
    assert value(page, "graft_requests_total", route="other", method="other", status="431") == 1
    assert value(page, "graft_requests_total", route="/v1/classify", method="POST", status="413") == 1


class Lines(logging.Handler):
    """Lines of the access log about POST, which come after the answers that they are about."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("POST"):
            self._lines.put(record)

    def next(self) -> logging.LogRecord:
        return self._lines.get(timeout=WAIT_S)


@pytest.fixture
def access_log() -> Iterator[Lines]:
    log, lines = logging.getLogger("graft.access"), Lines()
    level = log.level
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    yield lines
    log.removeHandler(lines)
    log.setLevel(level)


def test_access_log_tells_what_the_application_knows(server: Server, access_log: Lines) -> None:
    ask(server, "POST", "/v1/classify?top_k=1", plain("red"), **PHOTO, **{"X-Request-Id": "my-id"})
    answered = access_log.next()
    ask(server, "POST", "/v1/classify?model=none", plain("red"), **PHOTO)
    failed = access_log.next()
    assert answered.getMessage() == "POST /v1/classify 200"
    told = vars(answered)
    assert (told["client"], told["request_id"], told["model"]) == ("127.0.0.1", "my-id", "tiny")
    assert (told["version"], told["images"], told["route"]) == (1, 1, "/v1/classify")
    assert "error" not in told
    assert (vars(failed)["error"], failed.getMessage()) == ("UnknownModelError", "POST /v1/classify 404")


def test_a_path_is_logged_without_its_query_and_not_without_end(server: Server, access_log: Lines) -> None:
    ask(server, "POST", f"/{'x' * 500}?token=secret", b"x")
    line = access_log.next()
    assert vars(line)["path"] == f"/{'x' * 199}..."
    assert not any("secret" in str(value) for value in vars(line).values())


def test_a_refusal_is_logged_with_its_reason(server: Server, access_log: Lines) -> None:
    ask(server, "POST", "/v1/classify?token=secret", b"x", Expect="a-miracle")
    line = vars(access_log.next())
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/classify", 417)
    assert "Expect: a-miracle" in line["reason"]


def test_errors_carry_the_id_of_their_request(server: Server) -> None:
    for path, headers in (("/v1/classify?top_k=0", {}), ("/nowhere", {}), ("/", {"Expect": "a-miracle"})):
        _, answered, text = ask(server, "POST", path, b"x", **headers, **{"X-Request-Id": "my-id"})
        assert (answered["X-Request-Id"], json.loads(text)["error"]["request_id"]) == ("my-id", "my-id")
    _, answered, text = ask(server, "GET", "/nowhere")
    assert json.loads(text)["error"]["request_id"] == answered["X-Request-Id"]


def test_a_fault_is_logged_with_its_traceback_and_the_id_that_the_client_has(
    server: Server, registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(registry, "get", fail)
    status, answered, text = ask(server, "POST", "/v1/classify?label=hidden", plain("red"), **PHOTO)
    assert (status, "secret" in text) == (500, False)
    (line,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert vars(line)["request_id"] == answered["X-Request-Id"]
    assert "ZeroDivisionError: secret" in caplog.text
    assert "hidden" not in caplog.text
