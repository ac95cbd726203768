"""Tar archives whose images are read several times, and in any order: a packed one is unpacked to disk for that."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

from feature_extraction.archives import Entry, read_tar_member, tar_members
from feature_extraction.items import Content, ImageItem, Tally, printable
from models.errors import SourceError
from models.wording import size

_SPARE = 1 << 30  # bytes of the disk that are left to others
_STEP = 1 << 20
_PACKING: dict[str, Any] = {
    ".gz": gzip, ".tgz": gzip, ".bz2": bz2, ".tbz2": bz2, ".xz": lzma, ".txz": lzma,
}  # fmt: skip


def unpacked_tar_members(
    path: Path, tally: Tally, folders: list[tuple[str, ...]] | None = None
) -> Iterator[Entry]:
    """Images in a tar archive in the order of their names, packed or not; the folders in it go to `folders`.

    Raises:
        SourceError: not a tar archive, or no room to unpack it.
    """
    if path.name.lower().endswith(".tar"):
        return iter(sorted(tar_members(path, tally, folders), key=_parts))
    plain = _unpacked(path)
    members = sorted(tar_members(plain.path, tally, folders, shown=path), key=_parts)
    return ((parts, ImageItem(item.id, partial(_read, plain, item.read))) for parts, item in members)


class _Unpacked:
    """A tar archive without its packing, in a file that goes with the last one who may read it.

    Another process unpacks it for itself: this file may be gone by then, or on another machine.
    """

    def __init__(self, source: Path, path: Path) -> None:
        self.source, self.path = source, path
        weakref.finalize(self, _remove, str(path))

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpacked, (self.source,)


_in_use: weakref.WeakValueDictionary[tuple[str, int, int], _Unpacked] = weakref.WeakValueDictionary()
_unpacking = threading.Lock()


def _read(plain: _Unpacked, read: Callable[[], Content]) -> Content:
    """A member, out of the file that is unpacked here; it is held as long as somebody may ask."""
    if isinstance(read, partial) and read.func is read_tar_member:
        return read_tar_member(plain.path, *read.args[1:])
    return read()  # a failure


def _unpacked(path: Path) -> _Unpacked:
    """An archive as it is now, unpacked once for all who read it.

    Raises:
        SourceError: it cannot be unpacked, or there is no room for it.
    """
    with _unpacking:
        stamp = path.stat()
        key = (str(path.resolve()), stamp.st_size, stamp.st_mtime_ns)
        plain = _in_use.get(key)
        if plain is None:
            plain = _in_use[key] = _made(path)
        return plain


def _made(path: Path) -> _Unpacked:
    handle, name = tempfile.mkstemp(prefix="graft-", suffix=".tar")
    plain = _Unpacked(path, Path(name))
    try:
        with os.fdopen(handle, "wb") as target, _PACKING[path.suffix.lower()].open(path) as packed:
            _copy(packed, target, path)
    except (OSError, EOFError, lzma.LZMAError) as exc:
        raise SourceError(
            f"{printable(str(path))}: cannot be unpacked into {tempfile.gettempdir()} ({exc}). Unpack it yourself, and "
            "give the folder; or set TMPDIR to a larger disk."
        ) from exc
    return plain


def _copy(packed: IO[bytes], target: IO[bytes], path: Path) -> None:
    """Unpack as much as the disk has room for.

    Raises:
        SourceError: it is more.
    """
    room = shutil.disk_usage(tempfile.gettempdir()).free - _SPARE
    written = 0
    while piece := packed.read(_STEP):
        written += len(piece)
        if written > room:
            raise SourceError(
                f"{printable(str(path))}: unpacked it has more than {size(max(room, 0))}, which is what "
                f"{tempfile.gettempdir()} has room for. Set TMPDIR to a larger disk."
            )
        target.write(piece)


def _remove(name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name)


def _parts(entry: Entry) -> tuple[str, ...]:
    return entry[0]
