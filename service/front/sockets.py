"""Sockets of this machine: the one that listens, how many there may be, and word of a client that closes its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Protocol, cast

from models.errors import InputError

try:
    import resource
except ImportError:  # Windows bounds no descriptors
    resource = None  # type: ignore[assignment]

BACKLOG = 1024  # clients that may wait to be accepted
_HELD = 1 << 16  # bytes that a client may send ahead of the answer to what it sent before
_RETRY_S = 0.1
_OTHERS = 128  # descriptors for what is no connection: models, libraries, logs


class Client(Protocol):
    """Who hears what the other side of a connection does."""

    def answers_at_once(self, data: bytes) -> bool:
        """Whether all that is to be done with what has come was done with this; else it is read in its turn."""

    def client_left(self) -> None:
        """The client sends no more, or is gone."""


Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Client]


class StreamsThatTell(asyncio.StreamReaderProtocol):
    """asyncio's streams, and a word when something comes, and when the client closes its side."""

    def __init__(self, connected: Connected) -> None:
        super().__init__(asyncio.StreamReader(), self._connected)
        self._tell = connected
        self._client: Client | None = None
        self._socket: asyncio.Transport | None = None
        self._holds = self._ended = False
        self._held = bytearray()

    def hold(self) -> None:
        """Keep what comes from now on from the reader."""
        self._holds = True

    def let_go(self) -> None:
        """Give the reader what came meanwhile."""
        self._holds = False
        if self._held:
            data, self._held = bytes(self._held), bytearray()
            if self._socket is not None:
                self._socket.resume_reading()
            self.data_received(data)
        if self._ended and not self._holds:  # what came may have been begun at once, too
            self._ended = False
            super().eof_received()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._client = self._tell(reader, writer)
        self._socket = cast(asyncio.Transport, writer.transport)

    def data_received(self, data: bytes) -> None:
        """Something has come."""
        if self._holds:
            self._held += data
            if self._socket is not None and len(self._held) > _HELD:
                self._socket.pause_reading()
            return
        if self._client is None or not self._client.answers_at_once(data):
            super().data_received(data)

    def eof_received(self) -> bool | None:
        """The client sends no more."""
        if self._client is not None:
            self._client.client_left()
        if self._holds:
            self._ended = True
            return True
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._client is not None:
            self._client.client_left()
        super().connection_lost(exc)


class Listener:
    """Accepts the clients of a socket. asyncio's own server drops those that it is about to accept when it closes."""

    def __init__(self, listening: socket.socket, connected: Connected) -> None:
        self._socket, self._connected = listening, connected
        self._opening: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._socket.setblocking(False)
        self._resume()

    async def close(self) -> None:
        """Close the socket; clients that waited to be accepted are served, with what they have sent."""
        self._loop.remove_reader(self._socket)
        self._accept(BACKLOG)
        self._socket.close()
        if self._opening:
            await asyncio.wait(self._opening)

    def _accept(self, most: int = 64) -> None:
        try:
            for _ in range(most):
                client, _ = self._socket.accept()
                task = self._loop.create_task(self._open(client))
                self._opening.add(task)
                task.add_done_callback(self._opening.discard)
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            pass
        except OSError as exc:  # no descriptors, no memory
            logging.getLogger("graft").error("no client can be accepted now: %s", exc)
            self._loop.remove_reader(self._socket)
            self._loop.call_later(_RETRY_S, self._resume)

    def _resume(self) -> None:
        if self._socket.fileno() != -1:
            self._loop.add_reader(self._socket, self._accept)

    async def _open(self, client: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: StreamsThatTell(self._connected), client)
        except OSError:  # it has left again
            client.close()


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens at this address; port 0 takes a free one.

    Raises:
        InputError: the address is taken or does not exist.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError) as exc:
        raise InputError(
            f"cannot listen on {host} port {port} ({exc}). Is another service there? Choose with --host and --port."
        ) from exc
    return listener


def connections_within(most: int) -> int:
    """How many connections the process can have open, at most `most`; raises its limit of descriptors where it may."""
    if resource is None:
        return most
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _OTHERS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return most
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    if soft < wanted:
        most = max(1, soft - _OTHERS)
        logging.getLogger("graft").warning(
            "this process may open %d files, so %d connections are kept; allow more with ulimit -n %d",
            soft,
            most,
            wanted,
        )
    return most
