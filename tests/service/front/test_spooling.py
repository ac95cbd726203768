"""Archives are written to the disk while they come, and are gone when nobody needs them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.app import create_app
from service.front.limits import Limits
from service.front.server import Server
from service.jobs.teaching import Teaching
from service.registry import Registry
from service.server import make_server
from tests.service.jobs.conftest import class_folders, workspace_config, zipped

PAUSE = threading.Event()  # never set


class Running:
    """A service that teaches, on a socket."""

    def __init__(self, server: Server, teaching: Teaching) -> None:
        self.server, self.teaching = server, teaching

    @property
    def incoming(self) -> list[Path]:
        return list(self.teaching.workspace.incoming.iterdir())

    def connect(self) -> socket.socket:
        return socket.create_connection((self.server.host, self.server.port), timeout=120)


def head(length: int, kind: str = "application/zip") -> bytes:
    return (
        f"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n"
        "Connection: close\r\n\r\n"
    ).encode()


def answer(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.fixture
def running(tiny_path: Path, tmp_path: Path) -> Iterator[Running]:
    # Bodies in memory may have 1 MB; the workspace holds 8 MB.
    registry = Registry(workspace_config(tiny_path, tmp_path, max_request_mb=1, disk_limit_gb=0.008))
    registry.load()
    teaching = Teaching(registry, tmp_path)
    app = create_app(registry=registry, teaching=teaching)
    server = make_server(app, registry, "127.0.0.1", 0, Limits(drain_s=0.0))
    thread = threading.Thread(target=server.run)
    thread.start()
    yield Running(server, teaching)
    server.stop()
    thread.join()
    teaching.close()
    registry.close()


def test_an_archive_may_be_larger_than_a_body_in_memory(running: Running) -> None:
    archive = zipped({**class_folders(2), "red/raw.bin": bytes(3 << 20)})
    with running.connect() as client:
        client.sendall(head(len(archive)))
        client.sendall(archive[: 2 << 20])
        while not running.incoming or running.incoming[0].stat().st_size < 1 << 20:
            PAUSE.wait(0.01)  # it is on the disk before it has ended
        assert running.server.gate.budget.held == 0
        client.sendall(archive[2 << 20 :])
        assert answer(client).startswith(b"HTTP/1.1 201")
    assert running.incoming == []


def test_an_upload_that_breaks_off_leaves_nothing(running: Running) -> None:
    with running.connect() as client:
        client.sendall(head(4 << 20) + bytes(2 << 20))
        while not running.incoming:
            PAUSE.wait(0.01)
    while running.incoming or running.server.connections:
        PAUSE.wait(0.01)
    assert running.teaching.datasets.rows() == []


@pytest.mark.parametrize(
    ("length", "kind", "status"),
    [
        (20 << 20, "application/zip", b"413"),  # more than the workspace may hold at all
        (2 << 20, "application/json", b"413"),  # more than goes into memory
    ],
)
def test_what_is_too_large_is_refused_before_it_comes(
    running: Running, length: int, kind: str, status: bytes
) -> None:
    with running.connect() as client:
        client.sendall(head(length, kind))
        assert answer(client).startswith(b"HTTP/1.1 " + status)
    assert running.incoming == []


def test_what_does_not_fit_beside_the_rest_is_refused_while_it_comes(running: Running) -> None:
    (running.teaching.workspace.folder / "models" / "large.bin").write_bytes(bytes(6 << 20))
    running.teaching.workspace.count_again()
    with running.connect() as client:
        client.sendall(head(7 << 20) + bytes(3 << 20))
        assert b"FullError" in (told := answer(client)) or b"507" in told[:20]
        assert b"do not fit: the workspace holds" in told
    assert running.incoming == []
