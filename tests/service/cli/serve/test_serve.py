"""`graft serve` set up by a file, as a process of its own: TLS, tokens, SIGHUP under load, and two signals to stop."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.tokens import new_token
from tests.fixtures import plain
from tests.service.running import new_certificate

pytestmark = [
    pytest.mark.smoke,
    pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGHUP"),
]
ROOT = Path(__file__).parents[4]
INFER, INFER_LINE = new_token(["infer"])
ADMIN, ADMIN_LINE = new_token(["admin"])


class Process:
    """`graft serve` with a file of settings, and a folder of versions."""

    def __init__(self, folder: Path, tiny: Path, certificate: tuple[Path, Path]) -> None:
        self.folder, self.tiny, self.cert = folder, tiny, certificate[0]
        self.add_version(1)
        (folder / "tokens").write_text(f"{INFER_LINE}\n{ADMIN_LINE}\n", encoding="utf-8")
        (folder / "tokens").chmod(0o600)
        self.settings = {
            "models": ["models"], "repository": ["models"], "port": 0, "device": "cpu", "measure_s": 0, "watch_s": 0,
            "tokens": "tokens", "cert": str(certificate[0]), "key": str(certificate[1]), "drain_s": 30,
        }  # fmt: skip
        self.write()
        command = [
            sys.executable,
            "-W",
            "error",
            "-m",
            "graft",
            "serve",
            "--config",
            str(folder / "graft.toml"),
        ]
        environment = {name: value for name, value in os.environ.items() if name != "PORT"}
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.host, port = self.line("  ready").split()[0].removeprefix("https://").rsplit(":", 1)
        self.port = int(port)

    def add_version(self, number: int) -> None:
        target = self.folder / "models" / "cats" / f"{number}"
        target.mkdir(parents=True)
        shutil.copy(self.tiny, target / "model.onnx")

    def write(self, **settings: object) -> None:
        """Write the file, with these settings in place of its own."""
        self.settings |= settings
        lines = [f"{name} = {json.dumps(value)}" for name, value in self.settings.items()]
        (self.folder / "graft.toml").write_text("\n".join(lines), encoding="utf-8")

    def line(self, words: str) -> str:
        """Wait for a line of its output that holds these words."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if words in line:
                return line
        raise AssertionError(f"it ended before it said {words!r}: {self.process.communicate()[1]}")

    def connect(self, cert: Path | None = None) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=cert or self.cert)
        return http.client.HTTPSConnection(self.host, self.port, timeout=60, context=context)

    def ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
    ) -> tuple[int, dict[str, object]]:
        token = ADMIN if "admin" in path else INFER
        connection.request(
            method, path, body, {"Authorization": f"Bearer {token}", "Content-Type": "image/png"}
        )
        with connection.getresponse() as response:
            return response.status, json.loads(response.read())


@pytest.fixture
def running(tmp_path: Path, tiny_path: Path, certificate: tuple[Path, Path]) -> Iterator[Process]:
    running = Process(tmp_path, tiny_path, certificate)
    with running.process:
        try:
            yield running
        finally:
            running.process.kill()


def test_set_up_by_a_file_read_again_and_stopped(running: Process, tmp_path: Path) -> None:
    enough, answered, statuses = threading.Event(), threading.Semaphore(0), list[int]()

    def load() -> None:
        with contextlib.closing(running.connect()) as connection:
            while not enough.is_set():
                statuses.append(running.ask(connection, "POST", "/v1/classify", plain("red"))[0])
                answered.release()

    clients = [threading.Thread(target=load) for _ in range(2)]
    for client in clients:
        client.start()
    answered.acquire()
    running.add_version(2)
    other = tmp_path / "other"
    other.mkdir()
    cert, key = new_certificate(other)
    running.write(labels=["stable=cats:1"], cert=str(cert), key=str(key), max_images=1)
    running.process.send_signal(signal.SIGHUP)
    running.line("the configuration was read again")
    with contextlib.closing(running.connect(cert)) as connection:
        status, body = running.ask(connection, "GET", "/v1/admin/models")
        (cats,) = body["models"]  # type: ignore[misc]
        assert (status, cats["labels"], [one["version"] for one in cats["versions"]]) == (
            200,
            {"stable": 1},
            [1, 2],
        )
        move = json.dumps({"version": 2}).encode()
        assert running.ask(connection, "PUT", "/v1/admin/models/cats/labels/stable", move)[0] == 200
        assert running.ask(connection, "DELETE", "/v1/admin/models/cats?version=1")[0] == 200
    for _ in range(4):
        answered.acquire()
    enough.set()
    for client in clients:
        client.join()
    assert set(statuses) == {200}

    with contextlib.closing(running.connect(cert)) as connection:
        running.ask(connection, "GET", "/livez")
        running.process.send_signal(signal.SIGTERM)
        while running.ask(connection, "GET", "/readyz")[1]["status"] != "stopping":
            pass
        connection.request("GET", "/livez")
        with connection.getresponse() as response:
            assert (response.status, response.headers["Connection"]) == (200, "close")
    running.process.send_signal(signal.SIGTERM)  # half a minute of drain is left
    assert running.process.wait(timeout=20) == -signal.SIGTERM
