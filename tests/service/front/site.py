"""A tiny application behind the front on a loopback socket, and a client that sends bytes as they are given."""

from __future__ import annotations

import itertools
import json
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from service.front.gate import Routing
from service.front.limits import Limits
from service.front.requests import Refused
from service.front.server import Server
from service.front.wsgi import GONE, REQUEST_ID, Answer, Call
from service.steps import Steps

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

PATIENCE_S = 30.0  # nothing waits longer, whatever is broken
LARGE = 32 << 20  # bytes: more than the sockets of both sides hold
HOST = b"Host: test\r\n"


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"{method} {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n".encode("latin-1")


def head_of_post(path: str, size: int, *headers: str) -> bytes:
    return get(path, f"Content-Length: {size}", *headers, method="POST")


def post(path: str, body: bytes, *headers: str) -> bytes:
    return head_of_post(path, len(body), *headers) + body


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._file = connection.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self, *, body: bool = True) -> Reply:
        """The next answer; `body` is false for an answer to HEAD, and to one that says 100."""
        first = self._file.readline()
        assert first.startswith(b"HTTP/1.1 "), first
        headers: dict[str, str] = {}
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            assert name.lower() not in headers
            headers[name.lower()] = value.strip()
        content = b""
        if body and "content-length" in headers:
            content = self._file.read(int(headers["content-length"]))
        elif body and headers.get("transfer-encoding") == "chunked":
            while size := int(self._file.readline(), 16):
                content += self._file.read(size)
                assert self._file.readline() == b"\r\n"
            assert self._file.readline() == b"\r\n"
        return Reply(int(first[9:12]), headers, content)

    def ask(self, data: bytes, *, body: bool = True) -> Reply:
        self.send(data)
        return self.reply(body=body)

    def read(self, count: int) -> bytes:
        return self._file.read(count)

    def rest(self) -> bytes:
        """All that comes until the server closes."""
        return self._file.read()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Endless:
    """An answer without an end. Sets the event when the front says that it wants no more."""

    def __init__(self, closed: threading.Event) -> None:
        self._closed = closed

    def __iter__(self) -> Iterator[bytes]:
        return itertools.repeat(b"x" * 65536)

    def close(self) -> None:
        self._closed.set()


class Application:
    """What the front calls. Its events say where a request is; `gate` lets those at /wait go on."""

    def __init__(self) -> None:
        self.gate, self.entered, self.left, self.closed = (threading.Event() for _ in range(4))
        self.daemon: bool | None = None

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        body: bytes = environ["wsgi.input"].read()
        if path in ("/endless", "/stream"):
            start_response("200 OK", [("Content-Type", "text/plain")])
            return Endless(self.closed) if path == "/endless" else iter([b"a", b"", b"bc"])
        if path == "/broken":
            raise ValueError("broken on purpose")
        if path == "/silent":
            return [b"no status"]
        if path == "/wait":
            self.daemon = threading.current_thread().daemon
            self.entered.set()
            assert self.gate.wait(PATIENCE_S)
        if path == "/gone":
            environ[GONE].then(self.left.set)
            self.entered.set()
            assert self.left.wait(PATIENCE_S)
        seen = {name: value for name, value in environ.items() if isinstance(value, str)}
        result = {"bytes": len(body), "environ": seen, "id": environ[REQUEST_ID], "gone": bool(environ[GONE])}
        answer = json.dumps(result).encode()
        length = "7" if path == "/liar" else str(len(answer))
        start_response("200 OK", [("Content-Length", length), ("X-Request-Id", "the application's")])
        return [answer]

    def direct(self, call: Call) -> Steps[Answer] | None:
        """The steps of an answer to POST /steps: ?wait for `gate`, ?hold for `closed`; ?fail, ?odd are no answers.

        ?large has LARGE bytes.
        """
        path, _, query = call.target.partition("?")
        return self._steps(call, query) if path == "/steps" else None

    def _steps(self, call: Call, query: str) -> Steps[Answer]:
        asked = query.split("&")
        if "wait" in asked:
            call.gone.then(self.left.set)
            self.entered.set()
            assert self.gate.wait(PATIENCE_S)
        if "hold" in asked:
            assert self.closed.wait(PATIENCE_S)
        if "fail" in asked:
            raise ValueError("broken on purpose")
        body = json.dumps({"bytes": len(call.body), "gone": bool(call.gone)}).encode()
        if "large" in asked:
            body = bytes(LARGE)
        name = b"no header" if "odd" in asked else b"x-own"
        return Answer(200, [(b"content-length", b"%d" % len(body)), (name, b"1")], body)
        yield  # which makes steps of it: there is no model to ask here


def _refusal(path: str, refused: Refused) -> bytes:
    return json.dumps({"path": path, "message": refused.message}).encode()


class Site:
    """The application on a free port of this machine, answered by a thread."""

    def __init__(self, limits: Limits, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.app = Application()
        routing = Routing(
            {"/livez"}, lambda method, _: method == "POST", lambda: 2.5, _refusal, direct=self.app.direct
        )
        self.server = Server(self.app, routing, host, 0, limits, tls)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()

    def raw(self) -> socket.socket:
        return socket.create_connection((self.server.host, self.server.port), timeout=PATIENCE_S)

    def client(self) -> Client:
        return Client(self.raw())

    def ask(self, data: bytes) -> Reply:
        """The answer to a request on a connection of its own."""
        with self.client() as client:
            return client.ask(data)

    def healthy(self) -> bool:
        return self.ask(get("/livez")).status == self.ask(post("/echo", b"x")).status == 200

    def end(self) -> None:
        self.app.gate.set()
        self.app.left.set()
        self.server.stop(drain=False)
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        assert self.server.gate.budget.held == 0
