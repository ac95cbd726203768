"""A file that is read by ranges of one version of it, whichever store it lies in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

Read = Callable[[int, int], bytes]  # from a place to that before another


class RangedFile:
    """See `feature_extraction.stores.opening.Opened`; `details` is what the store tells of the version that is read."""

    def __init__(self, details: Mapping[str, Any], read: Read, block: int) -> None:
        """`block`: how much is read at once where less is asked for."""
        self.details, self._read, self._block = details, read, block
        self._place, self._begin, self._data = 0, 0, b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self.details["size"]}[whence]
        self._place = max(0, origin + offset)
        return self._place

    def tell(self) -> int:
        """The place."""
        return self._place

    def read(self, size: int = -1) -> bytes:
        """So many bytes, fewer only at the end."""
        rest = max(0, self.details["size"] - self._place)
        size = rest if size < 0 else min(size, rest)
        inside = self._place - self._begin
        if size and not 0 <= inside <= inside + size <= len(self._data):
            end = min(self._place + max(size, self._block), self.details["size"])
            self._begin, inside, self._data = self._place, 0, self._read(self._place, end)
        self._place += size
        return self._data[inside : inside + size] if size else b""
