"""Who takes the cores of this machine: processor time of a server and of others."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_TICK = 1 / os.sysconf("SC_CLK_TCK")


class Stat(NamedTuple):
    """Of a process: its group, its session, and the processor time that it and its ended children took, in seconds."""

    group: int
    session: int
    seconds: float


def stats() -> list[Stat]:
    """All processes of this machine."""
    known = []
    for folder in Path("/proc").iterdir():
        try:
            fields = (
                (folder / "stat").read_text().rpartition(")")[2].split() if folder.name.isdecimal() else []
            )
        except OSError:  # it has ended
            continue
        if fields:
            known.append(Stat(int(fields[2]), int(fields[3]), sum(map(int, fields[11:15])) * _TICK))
    return known


def busy_seconds() -> float:
    """What all cores together have worked since the machine began, the host's other guests included."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) * _TICK


@dataclass
class Usage:
    """What was taken from `start` to `stop`, in seconds: by the process group of a server, and by other sessions."""

    group: int
    server: float = 0.0
    others: float = 0.0  # cores

    def start(self) -> None:
        """Begin to count."""
        self._before = self._read()

    def stop(self) -> None:
        """Say what was taken."""
        before, now = self._before, self._read()
        self.server = now[0] - before[0]
        self.others = max(0.0, (now[2] - before[2]) - (now[1] - before[1])) / (now[3] - before[3])

    def _read(self) -> tuple[float, float, float, float]:
        known, session = stats(), os.getsid(0)
        server = sum(one.seconds for one in known if one.group == self.group)
        ours = sum(one.seconds for one in known if one.session == session)
        return server, ours, busy_seconds(), time.monotonic()
