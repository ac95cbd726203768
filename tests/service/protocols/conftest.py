"""A service on a socket of this machine, for clients of other servers as people have them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.runtime import RuntimeConfig
from service.app import create_app
from service.config import ServiceConfig
from service.front.limits import Limits
from service.registry import Registry
from service.safety import Guard
from service.server import make_server
from service.tokens import Tokens, new_token
from tests.tuned import tuned_classifier, tuned_regression

TOKEN, LINE = new_token(["admin"])


@pytest.fixture(scope="session")
def address(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a service with a classifier, one that rejects, a regression, and the built-in model."""
    folder = tmp_path_factory.mktemp("models")
    specs = (tiny_path, f"tuned={tuned_classifier(folder)}", f"redness={tuned_regression(folder)}", "builtin")
    config = ServiceConfig(
        models=tuple(map(str, specs)), runtime=RuntimeConfig(device="cpu", threads=1), measure_s=0.0
    )
    registry = Registry(config)
    registry.load()
    app = create_app(registry=registry, guard=Guard(Tokens([LINE])))
    server = make_server(app, registry, "127.0.0.1", 0, Limits(drain_s=0.0))
    running = threading.Thread(target=server.run)
    running.start()
    while running.is_alive():  # it listens from some moment of `run` on
        with (
            contextlib.suppress(ConnectionRefusedError),
            socket.create_connection((server.host, server.port)),
        ):
            break
    yield f"{server.host}:{server.port}"
    server.stop()
    running.join()
    registry.close()


@pytest.fixture(scope="session")
def token() -> str:
    """One of the scope admin."""
    return TOKEN
