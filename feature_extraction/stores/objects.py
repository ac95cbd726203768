"""A file in a store: read whole by one request, or by ranges, and always one version of it."""

from __future__ import annotations

import errno
import io
import os
import posixpath
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, BinaryIO

from feature_extraction.stores.opening import WEB, Opened, files_of, scheme_of, translated

_HEAD = 1 << 20  # bytes that are asked for at once where some are sought
_PIECE = 8 << 20  # where all are read, one behind the other
_OPENED = 64  # files whose version has been seen
# What stores tell that changes with the content, the surest first.
_VERSIONS = ("ETag", "etag", "generation", "blob_id", "last_modified", "LastModified", "mtime")


@dataclass(frozen=True)
class StoredFile:
    """A file as it was when it was listed; its name and text are those of its address. It can be pickled."""

    url: str
    size: int
    version: str

    @classmethod
    def seen(cls, url: str) -> StoredFile:
        """The file at an address.

        Raises:
            OSError: it is not there, is a folder, or the store refuses.
        """
        with translated(url):
            info = files_of(url).info(url)
        if info["type"] != "file":
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        return cls.listed(url, info)

    @classmethod
    def listed(cls, url: str, info: Mapping[str, Any]) -> StoredFile:
        """The file at an address of which the store tells this."""
        version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
        return cls(url, int(info["size"] or 0), version)

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part of its address, without what a query adds to one of the web."""
        url = self.url.partition("?")[0] if scheme_of(self.url) in WEB else self.url
        return posixpath.basename(url)

    @property
    def suffix(self) -> str:
        """The ending of its name, with the dot."""
        return posixpath.splitext(self.name)[1]

    def read(self) -> bytes:
        """All of it.

        Raises:
            OSError: it is gone, or has another size by now.
        """
        if not self.size:
            return b""
        with translated(self.url):  # a byte more, which tells one that has grown
            data = files_of(self.url).cat_file(self.url, start=0, end=self.size + 1)
        if len(data) != self.size:
            raise OSError(errno.ESTALE, "it was changed since it was listed")
        return data

    def read_range(self, begin: int, size: int) -> bytes:
        """So many bytes, fewer where it ends before.

        Raises:
            OSError: it is gone, or another one by now.
        """
        with translated(self.url):
            files = files_of(self.url)
        handle = _handle(self, id(files), threading.get_ident())
        with translated(self.url):
            handle.seek(begin)
            return handle.read(size)

    def open(self, mode: str = "r", *, whole: bool = False, **text: Any) -> Any:
        """A stream of it, "r" with options as `open` takes them; `whole`: all of it will be read, in its order.

        Raises:
            OSError: as `read_range`; also when it is read.
        """
        explained = partial(translated, self.url)
        with explained():
            remote = files_of(self.url).open(
                self.url,
                "rb",
                block_size=_PIECE if whole else _HEAD,
                cache_type="background" if whole else "readahead",
            )
        stream = explaining(remote, explained, _HEAD if not whole else io.DEFAULT_BUFFER_SIZE)
        return stream if "b" in mode else io.TextIOWrapper(stream, **text)


@lru_cache(_OPENED)
def _handle(file: StoredFile, connection: int, thread: int) -> Opened:
    """One a thread, for it has a place: opening costs a question, which tells whether the file is the same.

    Raises:
        OSError: it is not there any more, or is another one.
    """
    with translated(file.url):
        handle = files_of(file.url).open(file.url, "rb", block_size=_HEAD, cache_type="none")
        now = StoredFile.listed(file.url, getattr(handle, "details", None) or {"size": 0})
    # Listings and answers of some servers tell versions in different ways, or not at all.
    if now.size != file.size or (now.version and file.version and now.version != file.version):
        raise OSError(errno.ESTALE, "it was changed since it was listed")
    return handle


def explaining(
    stream: Opened | BinaryIO,
    explained: Callable[[], AbstractContextManager[None]],
    buffer: int = io.DEFAULT_BUFFER_SIZE,
) -> io.BufferedReader:
    """A stream that is read through another, `buffer` bytes at a time, in `explained`, which words its errors."""
    return io.BufferedReader(_Explaining(stream, explained), buffer)


class _Explaining(io.RawIOBase):
    def __init__(
        self, stream: Opened | BinaryIO, explained: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._stream, self._explained = stream, explained

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: Any) -> int:
        with self._explained():
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
