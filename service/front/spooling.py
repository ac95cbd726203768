"""Bodies that are too large for memory: they are written to a file while they come."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SPOOLED = "graft.spooled"  # in the environment: the file in which the body lies
_STEP = 1 << 20  # bytes that are written at once


@dataclass(frozen=True)
class Spool:
    """Where a body goes, and how large it may be. `take` hears of bytes before they are written, and may raise."""

    folder: Path
    most: int
    ending: str
    take: Callable[[int], None]


class SpooledBody:
    """A body that is being written to a file of its own."""

    def __init__(self, spool: Spool) -> None:
        self._spool, self._waiting = spool, bytearray()
        self._stream: BinaryIO | None = None
        self._closing, self._closed = threading.Lock(), False
        self.file = spool.folder / f"{secrets.token_hex(8)}{spool.ending}"

    async def write(self, data: bytes) -> None:
        """Add some of it.

        Raises:
            OSError: the file cannot be written.
            GraftError: what `take` raises.
        """
        self._waiting += data
        if len(self._waiting) >= _STEP:
            await self.flush()

    async def flush(self) -> None:
        """Have all of it in the file."""
        waiting, self._waiting = self._waiting, bytearray()
        # The disk may be slow, and the loop has other clients.
        await asyncio.to_thread(self._append, waiting)

    def _append(self, data: bytearray) -> None:
        self._spool.take(len(data))
        with self._closing:
            if self._closed:  # the client has left
                return
            if self._stream is None:
                self._stream = self.file.open("xb")
            self._stream.write(data)
            self._stream.flush()

    def close(self) -> None:
        """The file is not needed any more."""
        with self._closing, contextlib.suppress(OSError):
            self._closed = True
            if self._stream is not None:
                self._stream.close()
            self.file.unlink(missing_ok=True)
