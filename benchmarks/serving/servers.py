"""Servers as processes of their own: ours, LitServe, MLServer, and Triton with its Python backend."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

ADAPTERS = Path(__file__).parent / "adapters"


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[str], health: str, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers at `health`; ended with the block."""
    log = Path(f"/tmp/serving-{os.getpid()}-{time.monotonic_ns()}.log")
    with log.open("wb") as output:
        # Some servers leave their workers behind when they are ended: the whole group is.
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **(env or {})}, process_group=0
        )
    try:
        _wait(process, health, log)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.unlink()


def graft(models: Sequence[str], port: int, *options: str, device: str = "cpu") -> list[str]:
    """The command of `graft serve`."""
    return [
        sys.executable,
        "-m",
        "graft",
        "serve",
        *models,
        "--port",
        str(port),
        "--device",
        device,
        *options,
    ]


def _wait(process: subprocess.Popen[bytes], health: str, log: Path) -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end:
        with contextlib.suppress(OSError), urllib.request.urlopen(health, timeout=5) as response:
            if response.status == 200:
                return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    raise SystemExit(f"{process.args!r} is not ready:\n{log.read_text(errors='replace')[-3000:]}")
