"""Turns at the cores of this machine: more threads at work than there are cores only get in the way of one another."""

from __future__ import annotations

import threading
import time
from collections import deque


class Turns:
    """So many may work at once; the others wait, in the order of their coming."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: deque[threading.Lock] = deque()
        self._changing = threading.Lock()

    @property
    def all_taken(self) -> bool:
        """Whether somebody who came now would have to wait."""
        return self._free == 0

    def take(self, deadline: float) -> bool:
        """Wait for a turn, until the monotonic clock shows `deadline`; returns whether there is one to give back."""
        with self._changing:
            if self._free:
                self._free -= 1
                return True
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        if mine.acquire(timeout=min(threading.TIMEOUT_MAX, max(0.0, deadline - time.monotonic()))):
            return True
        with self._changing:
            if mine in self._waiting:
                self._waiting.remove(mine)
                return False
        return True  # it was handed over in this moment

    def give_back(self) -> None:
        """The turn is over; who has waited longest has it now."""
        with self._changing:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
