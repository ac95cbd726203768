"""The front on a socket: accepts connections, keeps room for new ones, and stops without losing an answer."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import ssl
import time
from typing import TYPE_CHECKING, Protocol, cast

from service.front.connection import Connection
from service.front.gate import Gate, Routing
from service.front.limits import Limits
from service.front.sockets import Listener, bind, connections_within
from service.turns import Turns

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_LAST_S = (
    0.25  # that a client has, whose request may be on its way when the server would close the connection
)


class Companion(Protocol):
    """What answers on another port, in the same loop and through the same gate."""

    async def start(self, gate: Gate) -> None:
        """Answer from now on."""

    async def stop(self, seconds: float) -> None:
        """Take no more, and end within so many seconds."""


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
        turns: Turns | None = None,
    ) -> None:
        """Bind the socket; port 0 takes a free one. Clients may connect from now on, and are answered in `run`.

        `turns`: at the cores of this machine, else all workers may be at work at once.

        Raises:
            InputError: the address is taken or does not exist.
        """
        self.limits = limits or Limits()
        self.connections: set[Connection] = set()
        self._most = connections_within(self.limits.connections)
        self._socket = bind(host, port)
        self.host, self.port = self._socket.getsockname()[:2]
        self.gate = Gate(app, routing, self.limits, (self.host, self.port), tls, turns)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        self._drains = True
        self.companions: list[Companion] = []

    @property
    def url(self) -> str:
        """The address of the service."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.gate.scheme}://{host}:{self.port}"

    # Run and stop

    def run(self) -> None:
        """Answer until `stop`; then finish what has come in, and close."""
        try:
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._run())
        finally:
            self._socket.close()
            self.gate.close()

    def stop(self, *, drain: bool = True) -> None:
        """Begin to stop. `drain`: go on answering for `drain_s` while `/readyz` says no, for a load balancer."""
        self.gate.drain()
        self._drains = self._drains and drain
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._hear_stop)

    def stop_on_signals(self) -> None:
        """SIGTERM stops with a grace for load balancers, Ctrl-C without; a second one ends the process at once."""

        def handle(number: int, _: object) -> None:
            signal.signal(number, signal.SIG_DFL)
            self.stop(drain=number == signal.SIGTERM)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handle)

    def renew(self, limits: Limits, tls: ssl.SSLContext | None) -> None:
        """Hold clients that connect from now on to other limits of their own, and show them another certificate.

        How many connections, threads and bytes there are over all of them stays as it was. From any thread.
        """
        self.limits = self.gate.limits = limits
        self.gate.tls = tls

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self.gate.draining:  # asked before there was a loop
            self._hear_stop()
        for companion in self.companions:
            await companion.start(self.gate)
        listener = Listener(self._socket, self.connected)
        relief = asyncio.create_task(self.gate.relieve())
        await self._stop.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.limits.drain_s):
                await self._hurry.wait()
        await listener.close()
        stops = [companion.stop(self.limits.stop_s) for companion in self.companions]
        await asyncio.gather(self._finish(), *stops)
        relief.cancel()

    def _hear_stop(self) -> None:
        self._stop.set()
        if not self._drains:
            self._hurry.set()

    async def _finish(self) -> None:
        """Let requests that have begun come to their end, for some time; close the others."""
        end, patience = time.monotonic() + self.limits.stop_s, _LAST_S
        while self.connections and (left := end - time.monotonic()) > 0:
            tasks = [connection.task for connection in self.connections if connection.task is not None]
            await asyncio.wait(tasks, timeout=min(patience, left))
            for connection in list(self.connections):
                if connection.idle and connection.task is not None:
                    connection.task.cancel()
            patience = left
        for connection in list(self.connections):
            connection.client_left()
            if connection.task is not None:
                connection.task.cancel()

    # Connections

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Connection:
        """Serve a new client; where there are too many, the one that has waited longest makes room."""
        if self.gate.tls is not None:
            # Until the handshake begins, which takes what comes for itself.
            cast(asyncio.Transport, writer.transport).pause_reading()
        connection = Connection(self.gate, reader, writer)
        if len(self.connections) >= self._most:
            self._make_room()
        self.connections.add(connection)
        connection.task = asyncio.get_running_loop().create_task(connection.serve())
        connection.task.add_done_callback(functools.partial(self._ended, connection))
        return connection

    def _make_room(self) -> None:
        """Close the connection that has waited longest for its client: for a request, else for the rest of one."""
        waiting = [one for one in self.connections if not one.worked_on]
        oldest = min(waiting, key=lambda one: (one.requested, one.since), default=None)
        if oldest is not None:
            self.connections.discard(oldest)
            if oldest.task is not None:
                oldest.task.cancel()

    def _ended(self, connection: Connection, task: asyncio.Task[None]) -> None:
        self.connections.discard(connection)
        connection.abort()  # a task that is cancelled before it begins does not do it
        if not task.cancelled() and (exc := task.exception()) is not None:
            logging.getLogger("graft").error("a connection broke off", exc_info=exc)
