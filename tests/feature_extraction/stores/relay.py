"""A relay before a server, which holds a request back in the middle of its body, so that its sender can be killed."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from types import TracebackType
from typing import Self

_PATIENCE_S = 60.0


class Relay:
    """Use as a context. Of the first request that begins with `held`, only a part of the body goes on."""

    def __init__(self, server: str, held: str) -> None:
        host, _, port = server.removeprefix("http://").partition(":")
        self._server, self._held = (host, int(port)), held.encode()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._half, self._over = threading.Event(), threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._listener.close()

    def wait_for_half_a_body(self) -> None:
        """Wait until the server has a part of the body, and no more."""
        assert self._half.wait(_PATIENCE_S), "no such request"

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server, contextlib.suppress(OSError):
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for one in ready:
                    data = one.recv(1 << 16)
                    if not data:
                        return
                    if one is client and data.startswith(self._held):
                        self._hold(client, server, data)
                        return
                    (server if one is client else client).sendall(data)

    def _hold(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        """Send the head and a few bytes on, then wait for the client's end."""
        while b"\r\n\r\n" not in data or data.endswith(b"\r\n\r\n"):
            if b"100-continue" in data and data.endswith(b"\r\n\r\n"):
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            piece = client.recv(1 << 16)
            if not piece:
                return
            data += piece
        begin = data.index(b"\r\n\r\n") + 4
        server.sendall(data[: begin + max(1, (len(data) - begin) // 2)])
        self._half.set()
        while client.recv(1 << 16):
            pass
