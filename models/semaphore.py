"""A weighted semaphore: a limit on how much is held at once by all threads together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class WeightedSemaphore:
    """What is held weighs `size` at most; who finds too little left waits, and what is heavier comes alone."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._door = threading.Lock()
        self._left = threading.Condition()

    @contextmanager
    def hold(self, weight: int) -> Iterator[None]:
        """Take up some of the room while the block runs."""
        weight = min(weight, self._size)
        # One waits inside and the others at the door: so small ones cannot keep out a large one for ever.
        with self._door, self._left:
            self._left.wait_for(lambda: self._used + weight <= self._size)
            self._used += weight
        try:
            yield
        finally:
            with self._left:
                self._used -= weight
                self._left.notify()
