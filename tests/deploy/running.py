"""Replicas, load balancers and Prometheus as processes of this machine, and clients that keep them busy."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.deploy.manifests import ROOT

Value = TypeVar("Value")
_PAUSE_S = 0.2
PATIENCE_S = 120.0  # until a process of a busy machine is given up


def awaited(what: str, value: Callable[[], Value | None]) -> Value:
    """What `value` gives as soon as it gives something; other processes tell nobody when they are ready."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            given = value()
            if given:
                return given
        threading.Event().wait(0.05)
    raise AssertionError(f"{what}: not within {PATIENCE_S:g} s")


class Process:
    """A program whose output goes to a file; `lines` reads what is there."""

    def __init__(self, log: Path, *command: str | Path, **environment: str) -> None:
        self.log, self._command, self._environment = log, command, environment
        self.start()

    def start(self) -> None:
        """Run it, again after it has ended."""
        with self.log.open("ab") as output:
            self.running = subprocess.Popen(
                [*map(str, self._command)], cwd=ROOT, env=os.environ | self._environment, stdout=output,
                stderr=subprocess.STDOUT,
            )  # fmt: skip

    @property
    def lines(self) -> list[str]:
        """What it has written."""
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()

    def end(self, number: int = signal.SIGKILL) -> int:
        """Send a signal, and wait for the end; the exit code."""
        self.running.send_signal(number)
        return self.running.wait(PATIENCE_S)


def replica(folder: Path, name: str, port: int, *options: str) -> Process:
    """`graft serve` of the built-in model."""
    command = [
        sys.executable,
        "-m",
        "graft",
        "serve",
        "builtin",
        "--device",
        "cpu",
        "--measure-s",
        "0",
        *options,
    ]
    return Process(folder / f"{name}.log", *command, "--port", str(port), PYTHONPATH=str(ROOT))


def fetched(port: int, path: str) -> str | None:
    """The answer of a service of this machine, None unless it is 200."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path)
        with connection.getresponse() as answer:
            text = answer.read().decode()
            return text if answer.status == 200 else None


def ready(port: int) -> None:
    """Wait until a service may have requests."""
    awaited(f"the service on port {port} is ready", lambda: fetched(port, "/readyz"))


def queried(port: int, query: str) -> list[dict[str, Any]]:
    """What a Prometheus answers to a query: its series, each with its labels and value."""
    address = f"http://127.0.0.1:{port}/api/v1/query"
    data = urllib.parse.urlencode({"query": query}).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, data, timeout=30) as answer:
        result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result


class Load:
    """Clients that ask one after the other, each request with an id, until they are told to stop.

    `outcomes`: (id, status) of each request that is over; status 0 where the connection broke.
    """

    def __init__(self, port: int, photo: bytes, clients: int = 4, tries: int = 1, most: int = 5000) -> None:
        self._name = secrets.token_hex(4)
        self._port, self._photo, self._tries, self._most = port, photo, tries, most
        self.outcomes: list[tuple[str, int]] = []
        self._enough = threading.Event()
        self._counted = threading.Condition()
        self._threads = [threading.Thread(target=self._ask, args=(name,)) for name in range(clients)]

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        """Ask for the time of a `with` block."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._enough.set()
            for thread in self._threads:
                thread.join()

    def more(self, count: int) -> None:
        """Wait until so many further requests are over."""
        with self._counted:
            wanted = len(self.outcomes) + count
            assert self._counted.wait_for(lambda: len(self.outcomes) >= wanted, PATIENCE_S), (
                "no further answers"
            )

    def failed(self) -> list[tuple[str, int]]:
        """The requests without an answer."""
        return [(name, status) for name, status in self.outcomes if status != 200]

    def _ask(self, client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        for number in range(self._most):
            if self._enough.is_set():
                break
            name = f"{self._name}-{client}-{number}"
            for again in range(self._tries):
                # As libraries of clients do, after ever longer pauses: what has just died is still there for a moment.
                self._enough.wait(_PAUSE_S * (2**again - 1))
                status = self._once(connection, name)
                if status == 200:
                    break
            with self._counted:
                self.outcomes.append((name, status))
                self._counted.notify_all()
        connection.close()

    def _once(self, connection: http.client.HTTPConnection, name: str) -> int:
        headers = {"Content-Type": "image/png", "X-Request-Id": name}
        try:
            connection.request("POST", "/v1/classify?top_k=1", self._photo, headers)
            with connection.getresponse() as answer:
                answer.read()
                return answer.status
        except (OSError, http.client.HTTPException):
            connection.close()
            return 0


def configured(folder: Path, source: Path, replaced: Sequence[tuple[str, str]]) -> Path:
    """A file of the deployment with what belongs to its machine replaced by what belongs to this one."""
    text = source.read_text(encoding="utf-8")
    for old, new in replaced:
        assert old in text, f"{source.name} has no {old!r}"
        text = text.replace(old, new)
    file = folder / source.name
    file.write_text(text, encoding="utf-8")
    return file
