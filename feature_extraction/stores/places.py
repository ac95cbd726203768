"""A folder of an object store where features are committed: files are created whole, and never written over.

A store has no rename, no append and no lock, and needs none: an upload that is not finished is not there, and one that
is told to create a file fails where another was faster.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from feature_extraction.stores.listing import files_below
from feature_extraction.stores.objects import StoredFile, explaining
from feature_extraction.stores.opening import files_of, translated
from models.errors import OutputError

_TRIES = 5  # of creating a file, where a store says that another is doing it at the same time
_PAUSE_S = 0.1
_WRITTEN = "written"
_ADVICE = "What is committed is kept: run the command again with --resume."


@dataclass(frozen=True)
class StoredFolder:
    """See `feature_extraction.parts.places.Place`."""

    url: str

    def __str__(self) -> str:
        return self.url

    def open(self, name: str) -> BinaryIO:
        """See `Place`; what fails later, while it is read, is an error of the place, too."""
        explained = partial(self._explained, name, "read")
        with explained():
            stream = StoredFile.seen(self._address(name)).open("rb", whole=True)
        return explaining(stream, explained)

    def size(self, name: str) -> int | None:
        """See `Place`.

        Raises:
            OutputError: the store refuses or fails.
        """
        with suppress(FileNotFoundError), self._explained(name, "read"):
            return StoredFile.seen(self._address(name)).size
        return None

    def create(self, name: str, pieces: Iterable[bytes]) -> bool:
        """See `Place`.

        Raises:
            OutputError: the store refuses or fails.
        """
        data = b"".join(pieces)
        with self._explained(name, _WRITTEN):
            for rest in reversed(range(_TRIES)):
                try:
                    self._put(name, data, "create")
                    return True
                except FileExistsError:
                    return False
                except OSError as exc:
                    if exc.errno != errno.EAGAIN or not rest:
                        raise
                time.sleep(_PAUSE_S)
        raise AssertionError("the last try returns or raises")

    def replace(self, name: str, pieces: Iterable[bytes]) -> None:
        """See `Place`.

        Raises:
            OutputError: the store refuses or fails.
        """
        with self._explained(name, _WRITTEN):
            self._put(name, b"".join(pieces), "overwrite")

    def names(self, folder: str) -> Iterator[str]:
        """See `Place`.

        Raises:
            OutputError: the store refuses or fails.
        """
        with suppress(FileNotFoundError), self._explained(folder, "listed"):
            for parts, _ in files_below(self._address(folder)):
                if len(parts) == 1:
                    yield parts[0]

    def remove(self, name: str) -> None:
        """See `Place`; of folders there is nothing to remove.

        Raises:
            OutputError: the store refuses or fails.
        """
        address = self._address(name)
        with suppress(FileNotFoundError), self._explained(name, "removed"), translated(address):
            files_of(address).rm_file(address)

    def _address(self, name: str) -> str:
        return f"{self.url.rstrip('/')}/{name}"

    def _put(self, name: str, data: bytes, mode: str) -> None:
        address = self._address(name)
        with translated(address):
            files_of(address).pipe_file(address, data, mode=mode)

    @contextmanager
    def _explained(self, name: str, done: str) -> Iterator[None]:
        """Raise as `OutputError`, with the file and what was to be done with it, what a store fails with."""
        try:
            yield
        except OSError as exc:
            if isinstance(exc, FileNotFoundError) and done != _WRITTEN:
                raise
            raise OutputError(f"{self._address(name)}: cannot be {done} ({exc.strerror}). {_ADVICE}") from exc
