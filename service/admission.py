"""Who may run a model now: one at a time, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator

from models.errors import BusyError

_MEMORY = 0.8  # weight of the past in the moving average of run times


class Admission:
    """A gate of one place with a bounded wait. Knows nothing of HTTP or models."""

    def __init__(self, wait_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`wait_s`: seconds that a caller waits at most."""
        self._gate = threading.Lock()
        self._counting = threading.Lock()
        self._wait_s = wait_s
        self._clock = clock
        self._waiting = 0
        self._run_s = 0.0  # seconds of a run, moving average

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """Hold the place for the time of a `with` block.

        Raises:
            BusyError: it did not become free in time; `retry_after` is the time that those waiting need.
        """
        with self._counting:
            self._waiting += 1
        try:
            entered = self._gate.acquire(timeout=self._wait_s)
        finally:
            with self._counting:
                self._waiting -= 1
        if not entered:
            raise BusyError(
                f"the model was busy for {self._wait_s:g} s, and {self._waiting} more requests wait for it. Try again "
                "later, or send several images in one request.",
                retry_after=max(1.0, math.ceil((self._waiting + 1) * self._run_s)),
            )
        started = self._clock()
        try:
            yield
        finally:
            took = self._clock() - started
            self._run_s = took if not self._run_s else _MEMORY * self._run_s + (1 - _MEMORY) * took
            self._gate.release()
