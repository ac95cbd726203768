"""A server as a process of its own, and what it takes of the machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]


class Running:
    """One of the servers on a free port, with a temporary folder of its own."""

    def __init__(self, name: str, python: str, threads: int = 16) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="graft-servers-")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": self._folder.name}
        script = Path(__file__).with_name("serve_one.py")
        self.process = subprocess.Popen(
            [python, str(script), name, str(self.port), str(threads)],
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def _wait(self) -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError):
                self.connect(1).close()
                return
            time.sleep(0.05)
        raise RuntimeError("the server did not start")

    def connect(self, timeout: float = 10.0) -> socket.socket:
        """A connection whose calls last `timeout` seconds at most."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def processes(self) -> list[int]:
        """The server's process and those that it started."""
        numbers = [self.process.pid]
        for number in numbers:
            with contextlib.suppress(OSError):
                for thread in Path(f"/proc/{number}/task").iterdir():
                    numbers += map(int, (thread / "children").read_text().split())
        return numbers

    def cpu_s(self) -> float:
        """Seconds of processor time that the server has taken."""
        total = 0
        for number in self.processes():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Resident bytes."""
        total = 0
        for number in self.processes():
            with contextlib.suppress(OSError):
                total += int(Path(f"/proc/{number}/statm").read_text().split()[1])
        return total * os.sysconf("SC_PAGE_SIZE")

    def temporary(self) -> int:
        """Bytes in temporary files, also in those that have no name any more."""
        total = 0
        for number in self.processes():
            with contextlib.suppress(OSError):
                for link in Path(f"/proc/{number}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        if os.readlink(link).startswith(self._folder.name):
                            total += link.stat().st_blocks * 512
        return total

    def close(self) -> None:
        """End the server and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
