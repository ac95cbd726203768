"""A group whose processes are threads of this one, for what does not depend on how they are connected."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import Queue
from typing import Any, TypeVar

import numpy as np

from finetune.workers.team import Team, run

T = TypeVar("T")
PATIENCE = 60.0  # seconds after which a thread that waits gives up: the test has failed


class AbortedError(Exception):
    """What `abort` of a real group does not leave time to raise."""


class Threads:
    """One of `size` threads; what they send goes through pickle, as between processes."""

    def __init__(
        self, rank: int, size: int, wires: dict[tuple[int, int], Queue[bytes]], table: _Table
    ) -> None:
        self.rank, self.size, self._wires, self._table = rank, size, wires, table

    def send(self, value: Any, receiver: int) -> None:
        self._wires[self.rank, receiver].put(pickle.dumps(value))

    def receive(self, sender: int) -> Any:
        message = self._wires[sender, self.rank].get(timeout=PATIENCE)
        if not message:
            raise AbortedError("by another")
        return pickle.loads(message)

    def all_reduce(self, array: np.ndarray) -> None:
        self._table.arrays[self.rank] = array.copy()
        self._table.barrier.wait()
        total = sum(self._table.arrays[rank] for rank in range(self.size))
        self._table.barrier.wait()
        array[:] = total

    def abort(self) -> None:
        self._table.barrier.abort()
        for wire in self._wires.values():
            wire.put(b"")
        raise AbortedError(f"of {self.rank}")


class _Table:
    """Where arrays meet."""

    def __init__(self, size: int) -> None:
        self.barrier = threading.Barrier(size, timeout=PATIENCE)
        self.arrays: dict[int, np.ndarray] = {}


def groups(size: int) -> list[Threads]:
    """The ends of all in one group."""
    wires = {(a, b): Queue[bytes]() for a in range(size) for b in range(size)}
    table = _Table(size)
    return [Threads(rank, size, wires, table) for rank in range(size)]


def on_threads(size: int, job: Callable[[Team], T]) -> list[Future[T | None]]:
    """How `run` ends in each of so many threads."""
    with ThreadPoolExecutor(size) as pool:
        ends = [pool.submit(run, group, job) for group in groups(size)]
        wait(ends)
    return ends
