"""Where the time goes: seconds and images of each stage."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STAGES = ("list", "read", "cache", "decode", "infer", "write")


class Timings:
    """Adds up what the threads of each stage do. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seconds = dict.fromkeys(STAGES, 0.0)  # summed over the threads of a stage
        self.images = dict.fromkeys(STAGES, 0)
        self.threads = dict.fromkeys(STAGES, 1)

    @contextmanager
    def stage(self, name: str, images: int = 1) -> Iterator[None]:
        """Time a block; one that raises counts too."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - began, images)

    def add(self, name: str, seconds: float, images: int) -> None:
        """Add seconds that a stage took for some images."""
        with self._lock:
            self.seconds[name] += seconds
            self.images[name] += images

    def rate(self, name: str) -> float | None:
        """Images a second that a stage could do with all its threads, had it nothing to wait for."""
        seconds = self.seconds[name]
        return self.images[name] * self.threads[name] / seconds if seconds else None
