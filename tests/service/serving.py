"""A service on sockets of this machine, in a thread of the tests."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from service.app import create_app
from service.config import ServiceConfig
from service.front.limits import Limits
from service.front.server import Server
from service.lifecycle import require_grpc
from service.registry import Registry
from service.safety import Guard
from service.server import make_server
from service.tls import tls_of


@dataclass(frozen=True)
class Serving:
    """A service that answers."""

    registry: Registry
    server: Server
    grpc_port: int | None

    @property
    def address(self) -> str:
        """Host and port of HTTP."""
        return f"{self.server.host}:{self.server.port}"

    @property
    def grpc_address(self) -> str:
        """Host and port of gRPC."""
        return f"{self.server.host}:{self.grpc_port}"

    def over_http(self, path: str, body: bytes | None = None) -> tuple[int, str]:
        """Status and text of a request; with a body it is posted."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", body, 60.0) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read().decode()


@contextlib.contextmanager
def serving(
    config: ServiceConfig, guard: Guard | None = None, tracing: Any = None, **bounds: float
) -> Iterator[Serving]:
    """A service that has loaded its models; `bounds` are of its front."""
    registry = Registry(config)
    registry.load()
    app = create_app(registry=registry, guard=guard, tracing=tracing)
    limits = Limits(**{"drain_s": 0.0, **bounds})  # type: ignore[arg-type]
    server = make_server(app, registry, "127.0.0.1", 0, limits, tls_of(config))
    grpc = require_grpc()(app, registry, config) if config.grpc_port is not None else None
    if grpc is not None:
        server.companions.append(grpc)
    running = threading.Thread(target=server.run)
    running.start()
    while running.is_alive():  # it listens from some moment of `run` on, last over HTTP
        with (
            contextlib.suppress(ConnectionRefusedError),
            socket.create_connection((server.host, server.port)),
        ):
            break
    try:
        yield Serving(registry, server, grpc.bound.result() if grpc is not None else None)
    finally:
        server.stop()
        running.join()
        registry.close()
