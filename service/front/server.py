"""The front on a socket: accepts connections, keeps room for new ones, and stops without losing an answer."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import functools
import logging
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11

from models.errors import InputError
from service.front.connection import Connection, Refusal
from service.front.limits import ByteBudget, Limits
from service.front.wsgi import Call, Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_BACKLOG = 1024
_log = logging.getLogger("graft.access")


@dataclass
class Lane:
    """Requests of one kind: how many may be worked on at once, and by which threads. Counted in the loop."""

    name: str
    most: int
    executor: Executor | None  # None: the loop answers by itself, at once
    running: int = 0

    @property
    def full(self) -> bool:
        """Whether another request has to be refused."""
        return self.running >= self.most


@dataclass(frozen=True)
class Routing:
    """What a front has to know of its application before a thread is taken.

    `instant`: paths that are answered at once, by the loop. `works`: whether a request (method, path) needs a worker.
    `retry_after`: seconds until a refused one should come again. `refusal`: the JSON that a refused one gets.
    `stopping` is called when the server begins to stop.
    """

    instant: Collection[str]
    works: Callable[[str, str], bool]
    retry_after: Callable[[], float]
    refusal: Callable[[str, Refusal], bytes]
    stopping: Callable[[], None] = lambda: None


class Server:
    """An application behind the front. `run` blocks; `stop` may be called from anywhere."""

    def __init__(
        self,
        app: WSGIApplication,
        routing: Routing,
        host: str,
        port: int,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Bind the socket; port 0 takes a free one. Clients may connect from now on, and are answered in `run`.

        Raises:
            InputError: the address is taken or does not exist.
        """
        self.app, self.tls, self.limits = app, tls, limits or Limits()
        self.draining = False
        self.budget = ByteBudget(self.limits.held_bytes)
        self.connections: set[Connection] = set()
        self._routing = routing
        self._socket = _bind(host, port)
        self.host, self.port = self._socket.getsockname()[:2]
        workers = ThreadPoolExecutor(self.limits.workers, "graft-worker")
        helpers = ThreadPoolExecutor(self.limits.helpers, "graft-helper")
        self.streams = ThreadPoolExecutor(self.limits.helpers, "graft-stream")
        self._work = Lane("work", self.limits.workers, workers)
        self._quick = Lane("quick", 8 * self.limits.helpers, helpers)
        self._instant = Lane("instant", 1 << 30, None)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._asked_to_stop = threading.Event()
        self._drain_s = self.limits.drain_s

    @property
    def url(self) -> str:
        """The address of the service."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    # Run and stop

    def run(self) -> None:
        """Answer until `stop`; then finish what has come in, and close."""
        try:
            asyncio.run(self._run())
        finally:
            self._socket.close()
            for lane in (self._work, self._quick):
                if isinstance(lane.executor, ThreadPoolExecutor):
                    lane.executor.shutdown(wait=False, cancel_futures=True)
            self.streams.shutdown(wait=False, cancel_futures=True)

    def stop(self, *, drain: bool = True) -> None:
        """Begin to stop. `drain`: go on answering for `drain_s` while `/readyz` says no, for a load balancer."""
        if not drain:
            self._drain_s = 0.0
        self.draining = True
        self._routing.stopping()
        self._asked_to_stop.set()
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._stop.set)

    def stop_on_signals(self) -> None:
        """SIGTERM stops with a grace for load balancers, Ctrl-C without; a second one ends the process at once."""

        def handle(number: int, _: object) -> None:
            signal.signal(number, signal.SIG_DFL)
            self.stop(drain=number == signal.SIGTERM)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handle)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        if self._asked_to_stop.is_set():
            self._stop.set()
        listener = await self._loop.create_server(
            self._protocol, sock=self._socket, ssl=self.tls, backlog=_BACKLOG, start_serving=True
        )
        await self._stop.wait()
        await asyncio.sleep(self._drain_s)
        listener.close()
        await self._finish()

    async def _finish(self) -> None:
        """Let requests that have begun come to their end, for some time; close the others."""
        end = time.monotonic() + self.limits.stop_s
        for connection in list(self.connections):
            if connection.waiting_since is not None and not connection.began and connection.task is not None:
                connection.task.cancel()
        tasks = [connection.task for connection in self.connections if connection.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=max(0.0, end - time.monotonic()))
        for connection in list(self.connections):
            connection.client_left()
            if connection.task is not None:
                connection.task.cancel()

    # Connections

    def _protocol(self) -> asyncio.Protocol:
        reader = asyncio.StreamReader()
        return _Protocol(reader, self)

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Connection:
        """Serve a new client; where there are too many, the one that has waited longest makes room."""
        connection = Connection(self, reader, writer)
        if len(self.connections) >= self.limits.connections:
            self._make_room()
        self.connections.add(connection)
        task = asyncio.get_running_loop().create_task(connection.serve())
        connection.task = task
        task.add_done_callback(functools.partial(self._ended, connection))
        return connection

    def _make_room(self) -> None:
        waiting = [one for one in self.connections if one.waiting_since is not None]
        oldest = min(waiting, key=lambda one: one.waiting_since or 0.0, default=None)
        if oldest is not None and oldest.task is not None:
            oldest.task.cancel()

    def _ended(self, connection: Connection, task: asyncio.Task[None]) -> None:
        self.connections.discard(connection)
        if not task.cancelled() and (exc := task.exception()) is not None:
            logging.getLogger("graft").error("a connection broke off", exc_info=exc)

    # What connections ask

    def lane(self, method: str, path: str) -> Lane:
        """Which threads answer a request."""
        if path in self._routing.instant:
            return self._instant
        return self._work if self._routing.works(method, path) else self._quick

    def overloaded(self, lane: Lane) -> Refusal:
        """The refusal of a request for which there is no place."""
        return Refusal(
            429,
            f"{lane.running} requests are worked on, as many as this server takes. Try again later, or send several "
            "images in one request",
            self._routing.retry_after(),
        )

    def refusal(self, path: str, refused: Refusal) -> bytes:
        """The body of a refusal, in the form of the protocol that the path belongs to."""
        return self._routing.refusal(path, refused)

    def own_headers(self) -> Headers:
        """What every answer carries."""
        return [(b"date", _date(int(time.time()))), (b"server", b"graft")]

    def log_access(self, call: Call, status: int, size: int, seconds: float) -> None:
        """One line for each answered request."""
        _log.info(
            "%s %s %d", call.method, call.target.partition("?")[0], status,
            extra={"client": call.client[0], "bytes": size, "seconds": seconds, "request_id": call.request_id},
        )  # fmt: skip

    def log_refusal(self, request: h11.Request | None, refused: Refusal) -> None:
        """One line for each request that was refused before anybody worked on it."""
        method = request.method.decode("ascii") if request is not None else "-"
        path = request.target.partition(b"?")[0].decode("latin-1") if request is not None else "-"
        _log.info("%s %s %d", method, path, refused.status, extra={"reason": refused.message})


class _Protocol(asyncio.StreamReaderProtocol):
    """asyncio's streams, and a word when the client closes its side."""

    def __init__(self, reader: asyncio.StreamReader, server: Server) -> None:
        super().__init__(reader, self._connected)
        self._server = server
        self._connection: Connection | None = None

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connection = self._server.connected(reader, writer)

    def eof_received(self) -> bool | None:
        """The client sends no more."""
        if self._connection is not None:
            self._connection.client_left()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._connection is not None:
            self._connection.client_left()
        super().connection_lost(exc)


@functools.lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return email.utils.formatdate(second, usegmt=True).encode("ascii")


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError) as exc:
        raise InputError(
            f"cannot listen on {host} port {port} ({exc}). Is another service there? Choose with --host and --port."
        ) from exc
    return listener
