"""Google Cloud Storage as gcsfs has it, but for files that are read by ranges: these are of one generation."""

from __future__ import annotations

import errno
from functools import partial
from typing import Any

from gcsfs.core import GCSFileSystem

from feature_extraction.stores.ranges import RangedFile


class GoogleFiles(GCSFileSystem):  # type: ignore[misc]  # gcsfs has no types
    """See `feature_extraction.stores.opening.Files`."""

    def open(self, path: str, mode: str = "rb", *, block_size: int, cache_type: str, **_: Any) -> RangedFile:
        """A file to be read by ranges of what it is now."""
        details = self.info(path)
        read = partial(self._one_generation, path, details["generation"])
        return RangedFile(details, read, 0 if cache_type == "none" else block_size)

    def _one_generation(self, path: str, generation: str, start: int, end: int) -> bytes:
        try:
            data: bytes = self.cat_file(path, start=start, end=end, generation=generation)
        except FileNotFoundError as exc:
            raise OSError(errno.ESTALE, "it was changed meanwhile") from exc
        return data
