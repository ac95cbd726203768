"""The whole service as a process of its own, on a socket of this machine: start, answer, refuse, stop."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures import plain, png_bomb
from tests.service.running import Run

pytestmark = pytest.mark.smoke
ROOT = Path(__file__).parents[2]
PHOTO = {"Content-Type": "image/png"}


@pytest.fixture
def service(tiny_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`graft serve` on a free port; it has said its address, and its models are being loaded."""
    command = [sys.executable, "-W", "error", "-m", "graft", "serve", str(tiny_path), "--port", "0"]
    with subprocess.Popen(
        # What is unfinished is waited for as long as a busy machine may need.
        [
            *command,
            "--device",
            "cpu",
            "--max-request-mb",
            "1",
            "--measure-s",
            "0",
            "--drain-s",
            "0",
            "--stop-s",
            "120",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def address(running: subprocess.Popen[str]) -> tuple[str, int]:
    """Host and port, once all models are ready."""
    assert running.stdout is not None
    for line in running.stdout:
        if "  ready" in line:
            host, port = line.split()[0].removeprefix("http://").rsplit(":", 1)
            return host, int(port)
    raise AssertionError("the service ended before it was ready")


def ask(
    place: tuple[str, int], method: str, path: str, body: bytes | None = None
) -> tuple[int, dict[str, Any]]:
    with contextlib.closing(http.client.HTTPConnection(*place, timeout=120)) as connection:
        connection.request(method, path, body, PHOTO if body else {})
        with connection.getresponse() as response:
            return response.status, json.loads(response.read())


def say(place: tuple[str, int], data: bytes) -> bytes:
    """The answer to bytes that need not be HTTP."""
    with socket.create_connection(place, timeout=120) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can catch")
def test_service_answers_refuses_and_stops_without_losing_a_request(service: subprocess.Popen[str]) -> None:
    place = address(service)
    assert ask(place, "GET", "/readyz") == (200, {"status": "ready", "loading": []})
    status, body = ask(place, "POST", "/v1/classify?top_k=1", plain("blue"))
    assert (status, body["results"][0]["predictions"][0]["label"]) == (200, "blue")

    answer = say(place, b"POST /v1/classify HTTP/1.1\r\nHost: graft\r\nContent-Length: 3000000\r\n\r\n")
    assert b" 413 Request Entity Too Large" in answer
    assert b'{"error": {"type": "RequestEntityTooLarge"' in answer
    answer = say(place, b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    assert b" 400 Bad Request" in answer
    assert b'{"error": {"type": "BadRequest"' in answer

    with contextlib.ExitStack() as silent:
        for _ in range(120):
            silent.enter_context(socket.create_connection(place))
        assert ask(place, "GET", "/livez")[0] == 200

    with contextlib.closing(http.client.HTTPConnection(*place, timeout=120)) as slow:
        slow.request("POST", "/v1/classify?top_k=1", png_bomb(7_000), PHOTO)  # 49 million pixels take a while
        assert ask(place, "GET", "/livez")[0] == 200
        service.send_signal(signal.SIGTERM)
        with slow.getresponse() as response:
            assert response.status == 200
            assert "predictions" in json.loads(response.read())["results"][0]
    output, errors = service.communicate(timeout=120)
    assert (service.returncode, output.splitlines()[-1], errors) == (0, "stopped", "")


def test_taken_port_is_explained(graft: Run, tiny_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = graft("serve", tiny_path, "--port", port)
    assert result.exit_code == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in result.stderr


def test_model_that_cannot_be_loaded_ends_the_service(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    done = subprocess.run(
        [sys.executable, "-m", "graft", "serve", str(tmp_path / "text.onnx"), "--port", "0"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "text.onnx" in done.stderr
    assert "Traceback" not in done.stderr
