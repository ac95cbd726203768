"""Processes by their numbers and the time at which they began: a number alone may belong to somebody else by now."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

LOG = "log.txt"  # in the folder of a job: what its process writes
_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def identity(pid: int) -> str | None:
    """A text that no other process of this machine has had or will have; None where there is none of this number."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        if _PROC.is_dir():
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
            if fields[0] in "ZX":  # it has ended, and nobody has asked how
                return None
            boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
            return f"{pid} {boot} {fields[19]}"
        began = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return f"{pid} {began.stdout.strip()}" if began.stdout.strip() else None
    return None


def alive(known: str | None) -> bool:
    """Whether the process of this identity still runs."""
    return known is not None and identity(_pid(known)) == known


def end(known: str, *, at_once: bool = False) -> None:
    """Ask a process, if it is alive, and those that it has started to end; or end them `at_once`."""
    if alive(known):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(_pid(known), signal.SIGKILL if at_once else signal.SIGTERM)


def memory(known: str) -> int:
    """Bytes of memory that a process holds; 0 where nothing says it."""
    pid = _pid(known)
    with contextlib.suppress(OSError, ValueError, IndexError):
        if _PROC.is_dir():
            return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE
        held = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return int(held.stdout) << 10
    return 0


def give_way(nice: int) -> None:
    """Let this process, and those that it starts, come after others: by 0, not at all, to 19."""
    with contextlib.suppress(OSError):
        os.nice(nice)


def start(folder: Path, nice: int) -> subprocess.Popen[bytes]:
    """Start the process of a job, in a group of its own: it goes on when this one is killed, or hears Ctrl-C.

    Not in a session of its own: Linux shares the processor between sessions before it looks who is nice in them.
    """
    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "service.jobs.process", str(folder), str(nice)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0, env=_environment(),
        )  # fmt: skip


def _environment() -> dict[str, str]:
    """That of this process, with the places where it looks for packages."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONUNBUFFERED": "1",
    }


def _pid(known: str) -> int:
    return int(known.partition(" ")[0])
