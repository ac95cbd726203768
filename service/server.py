"""Waitress around the application: one socket, a loop, and a shutdown that waits for the requests that are in."""

from __future__ import annotations

import json
import logging
import select
import signal
import socket
import time
from types import FrameType
from typing import Any

import waitress
from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask

from models.errors import InputError

_SPARE = 1 << 20  # waitress refuses a little later than the application, whose refusal is JSON
_CONNECTIONS = 500  # open at once; whoever holds one without a word loses it after _IDLE_S
_IDLE_S = 30  # seconds
_GRACE_S = 20.0  # that requests have to finish after a request to stop


class _JsonErrorTask(ErrorTask):  # type: ignore[misc]
    """The answer to what is no HTTP, or too large to be looked at: JSON like all other errors."""

    def execute(self) -> None:
        """Write the answer and close the connection, as waitress' own task does."""
        error = self.request.error
        kind, text = error.reason.replace(" ", ""), f"{error.reason}: {error.body}."
        body = json.dumps({"error": {"type": kind, "message": text}}).encode() + b"\n"
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]
    error_task_class = _JsonErrorTask


class Server:
    """The application on a socket."""

    def __init__(self, app: Flask, host: str, port: int, threads: int) -> None:
        """Bind the socket; port 0 takes a free one. Requests queue up from now on.

        Raises:
            InputError: the address is taken or does not exist.
        """
        # Admission speaks of a queue, not the log.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._listener = _bind(host, port)
        self.host, self.port = self._listener.getsockname()[:2]
        self._waitress: Any = waitress.create_server(
            app,
            sockets=[self._listener],
            threads=threads,
            ident="graft",
            connection_limit=_CONNECTIONS,
            channel_timeout=_IDLE_S,
            asyncore_use_poll=hasattr(select, "poll"),
            max_request_body_size=app.config["MAX_CONTENT_LENGTH"] + _SPARE,
        )
        self._waitress.channel_class = _Channel
        self._stopping = False

    @property
    def url(self) -> str:
        """The address of the service."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def run(self) -> None:
        """Answer until `stop`; then finish the requests that have come in, and close."""
        poll = getattr(self._waitress.adj, "asyncore_use_poll", False)
        deadline = None
        while deadline is None or (self._has_requests() and time.monotonic() < deadline):
            wasyncore.loop(1.0, poll, self._waitress._map, count=1)
            if self._stopping and deadline is None:
                self._waitress.accepting = False
                deadline = time.monotonic() + _GRACE_S
        self._waitress.task_dispatcher.shutdown()
        for channel in list(self._waitress.active_channels.values()):
            channel.handle_close()
        self._waitress.close()

    def stop(self) -> None:
        """Ask `run` to come to its end, from any thread or signal handler."""
        self._stopping = True
        self._waitress.pull_trigger()

    def stop_on_signals(self) -> None:
        """Stop on SIGTERM and Ctrl-C; a second one ends the process at once."""

        def stop(number: int, frame: FrameType | None) -> None:
            signal.signal(number, signal.SIG_DFL)
            self.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)

    def _has_requests(self) -> bool:
        channels = list(self._waitress.active_channels.values())
        return any(channel.requests or channel.total_outbufs_len for channel in channels)


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
