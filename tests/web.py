"""A web server on 127.0.0.1, for what fetches."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.fixtures import plain

IMAGE = plain("red")
Site = Callable[[BaseHTTPRequestHandler], None]


class Pages:
    """A server on 127.0.0.1: its paths are functions, and it remembers the hosts that it was asked for."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.hosts: list[str | None] = []
        self.paths: dict[str, Site] = {}
        pages = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                pages.hosts.append(self.headers["Host"])
                with contextlib.suppress(OSError):
                    pages.paths[self.path](self)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Be quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def answering(status: int = 200, body: bytes = IMAGE, length: int | None = None, **headers: str) -> Site:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        handler.wfile.write(body)

    return answer
