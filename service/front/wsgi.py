"""A request as a WSGI environment, and what the application answers."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from service.front.plain import Headers
from service.front.spooling import SPOOLED

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

GONE = "graft.gone"  # in the environment: `ClientGone`
REQUEST_ID = "graft.request_id"  # in the environment: str
BEGAN = "graft.began"  # in the environment: float, when the whole request was there, by the monotonic clock
NOTES = "graft.notes"  # in the environment: a dict, for what the access log is to tell beside the status


class ClientGone:
    """Whether the client has left, and what to do then. Set by the loop, asked by the thread that works for it."""

    def __init__(self) -> None:
        self._set = threading.Event()
        self._then: list[Callable[[], None]] = []
        self._changing = threading.Lock()

    def __bool__(self) -> bool:
        return self._set.is_set()

    def set(self) -> None:
        """The client has left."""
        with self._changing:
            self._set.set()
            calls, self._then = self._then, []
        for call in calls:
            call()

    def then(self, call: Callable[[], None]) -> None:
        """Call this when the client leaves, from the loop's thread; at once where it has left already."""
        with self._changing:
            if not self._set.is_set():
                self._then.append(call)
                return
        call()


@dataclass(eq=False)
class Call:
    """A whole request, as it came. Its body is the application's once that is called, to let go of."""

    method: str
    target: str  # path and query, ASCII, still quoted
    headers: Headers  # names in lower case
    body: bytes
    http_version: str
    client: tuple[str, int]
    server: tuple[str, int]
    scheme: str
    request_id: str
    gone: ClientGone = field(default_factory=ClientGone)
    began: float = field(default_factory=time.monotonic)
    notes: dict[str, Any] = field(default_factory=dict)
    spooled: Path | None = None  # where the body lies that is too large for memory

    def own_environ(self) -> dict[str, Any]:
        """What the environment has of ours, and the body."""
        return {
            "wsgi.input": io.BytesIO(self.body),
            GONE: self.gone,
            REQUEST_ID: self.request_id,
            BEGAN: self.began,
            NOTES: self.notes,
        }

    def environ(self) -> dict[str, Any]:
        """The WSGI environment (PEP 3333)."""
        path, _, query = self.target.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            # PEP 3333: bytes that came quoted, each as the character of its number.
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "RAW_URI": self.target,
            "QUERY_STRING": query,
            "SERVER_NAME": self.server[0],
            "SERVER_PORT": str(self.server[1]),
            "SERVER_PROTOCOL": f"HTTP/{self.http_version}",
            "REMOTE_ADDR": self.client[0],
            "REMOTE_PORT": str(self.client[1]),
            "CONTENT_LENGTH": str(len(self.body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": self.scheme,
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **self.own_environ(),
        }
        if self.spooled is not None:
            environ[SPOOLED] = self.spooled
        for raw_name, raw_value in self.headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            if name in ("content-length", "transfer-encoding"):
                continue
            if "_" in name:  # X_Name would look like X-Name to the application
                continue
            key = "CONTENT_TYPE" if name == "content-type" else "HTTP_" + name.upper().replace("-", "_")
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ


class Stream:
    """What an application goes on to answer: pulled by one thread, perhaps closed by another."""

    def __init__(self, chunks: Iterator[bytes], close: Callable[[], None]) -> None:
        self._chunks: Iterator[bytes] | None = chunks
        self._close = close
        self._pulling = threading.Lock()

    def pull(self) -> bytes | None:
        """The next chunk; None at the end."""
        with self._pulling:
            return next(self._chunks, None) if self._chunks is not None else None

    def close(self) -> None:
        """Tell the application that no more is asked for; waits for the chunk that is being made."""
        with self._pulling:
            if self._chunks is not None:
                self._chunks = None
                self._close()


@dataclass
class Answer:
    """What the application answered. `stream` goes on after `body` where the length was not known beforehand."""

    status: int
    headers: Headers
    body: bytes = b""
    stream: Stream | None = None

    def close(self) -> None:
        """Nobody asks for the rest."""
        if self.stream is not None:
            self.stream.close()


def call_application(app: WSGIApplication, call: Call) -> Answer:
    """The answer of a WSGI application; blocks until its body is complete, or begins where it has no length."""
    started: list[tuple[str, list[tuple[str, str]]]] = []
    early: list[bytes] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], object]:
        started[:] = [(status, headers)]
        return early.append

    environ = call.environ()
    call.body = b""
    result: Iterable[bytes] = app(environ, start_response)
    chunks = iter(result)
    stream = Stream(chunks, getattr(result, "close", lambda: None))
    try:
        # An application may start its response only when the first chunk is asked for.
        first = next(chunks, b"")
        if not started:
            raise RuntimeError("the application answered without a status: it never called start_response")
        status, headers = started[0]
        encoded = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers]
        if call.method == "HEAD":
            body = b""
        elif any(name == b"content-length" for name, _ in encoded):
            body = b"".join([*early, first, *chunks])
        else:
            return Answer(int(status[:3]), encoded, b"".join([*early, first]), stream)
    except BaseException:
        stream.close()
        raise
    stream.close()
    return Answer(int(status[:3]), encoded, body)
