"""Memory for what is made of bodies: unpacked, decoded or fetched bytes, counted over all requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from models.errors import BusyError, InputError

_AGAIN_S = 1.0  # bodies are held while they are decoded: that soon there is room again


class Memory:
    """How many bytes there are for all requests together, and how many are taken."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0
        self._changing = threading.Lock()

    @contextmanager
    def share(self) -> Iterator[Share]:
        """What one request takes, which is given back at the end of the block."""
        share = Share(self)
        try:
            yield share
        finally:
            self.add(-share.taken)

    def add(self, count: int) -> None:
        """Take so many bytes more, or fewer.

        Raises:
            BusyError: there is no room for them.
        """
        with self._changing:
            if count > 0 and self.taken + count > self.size:
                raise BusyError(
                    f"what others sent fills the {self.size >> 20} MiB there are for it. Try again in a moment.",
                    _AGAIN_S,
                )
            self.taken += count


class Share:
    """The bytes of one request."""

    def __init__(self, memory: Memory) -> None:
        self.taken = 0
        self._memory = memory

    def take(self, count: int) -> None:
        """Count so many bytes more.

        Raises:
            InputError: there would be no room for them if nobody else had any.
            BusyError: as `Memory.add`.
        """
        if self.taken + count > self._memory.size:
            raise InputError(
                f"what is made of the request takes more than the {self._memory.size >> 20} MiB there are for all of "
                "them together. Send fewer or smaller images; who runs the service may raise --max-unpacked-mb."
            )
        self._memory.add(count)
        self.taken += count
