"""Bytes by key in the cache folder: features, and images from the network.

One SQLite file holds them: safe with several processes, whole after a crash, and for values of a few kilobytes faster
than a file for each of them. SQLite does not notice a changed byte in a value; a checksum behind each value does.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from models.errors import InputError
from models.store import cache_folder

DEFAULT_GB = 4.0
FEATURES = "features.sqlite"
FETCHED = "fetched.sqlite"  # images from the network, by their address
# Called after the values of the first versions.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, used INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_use ON vectors (used);
"""
_FRESH = 3600  # seconds for which a use need not be written down again
_TOUCHES = 256  # uses that are written down together
_PATIENCE = 30.0  # seconds to wait for another process to finish writing


@dataclass(frozen=True)
class CacheInfo:
    """Where a store is, how many values and bytes are in it, and how many bytes may be."""

    path: Path
    values: int
    size: int
    limit: int


class ByteStore:
    """Bytes by key in a file of limited size; the least recently used go first. Safe from threads and processes.

    A cache must never be the reason that work stops, or that it goes wrong: when the file cannot be used, nothing is
    found in it and nothing is kept, and `trouble` says why. A damaged file is removed, so that the next one is whole.
    """

    def __init__(self, path: Path, limit: int) -> None:
        """Open or create the file; `limit` is in bytes."""
        self.path, self.limit, self.trouble = path, limit, ""
        self._damaged = False  # the file was found damaged, and removed
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._touched: list[tuple[int, bytes]] = []
        with self._careful():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection()
        if self._damaged:
            self.trouble = ""
            with self._careful():
                self._connection()

    def get(self, keys: list[bytes]) -> list[bytes] | None:
        """The values of all `keys`, or None when one of them is missing."""
        if self.trouble:
            return None
        with self._careful():
            marks = ", ".join("?" * len(keys))
            rows = self._connection().execute(
                f"SELECT key, used, data FROM vectors WHERE key IN ({marks})", keys
            )
            stored = {key: (used, _opened(key, data)) for key, used, data in rows}
            values = [stored.get(key, (0, None))[1] for key in keys]
            if any(value is None for value in values):
                return None
            old = int(time.time()) - _FRESH
            self._touch([key for key, (used, _) in stored.items() if not isinstance(used, int) or used < old])
            return [value for value in values if value is not None]
        return None

    def put(self, values: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep values, and let old ones go where there is no room."""
        if self.trouble:
            return
        now = int(time.time())
        rows = [(key, now, _sealed(key, data)) for key, data in values]
        with self._careful():
            with self._connection() as connection:
                connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
            self._shrink()

    def info(self) -> CacheInfo:
        """How full it is."""
        count = size = 0
        with self._careful():
            count = self._connection().execute("SELECT count(*) FROM vectors").fetchone()[0]
            size = self._size()
        return CacheInfo(self.path, count, size, self.limit)

    def clear(self) -> None:
        """Forget everything; others may be using the file meanwhile."""
        with self._careful():
            with self._connection() as connection:
                connection.execute("DELETE FROM vectors")
            self._connection().execute("VACUUM")
        if self._damaged:  # forgotten all the same
            self.trouble = ""

    def close(self) -> None:
        """Write down what was used and close the file."""
        if not self.trouble:
            self._touch([], flush=True)
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()
        self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        if not hasattr(self._local, "connection"):
            connection = sqlite3.connect(self.path, timeout=_PATIENCE, check_same_thread=False)
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")  # readers do not wait for a writer
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_SCHEMA)
            self._local.connection = connection
            with self._lock:
                self._all.append(connection)
        return self._local.connection  # type: ignore[no-any-return]

    def _touch(self, keys: list[bytes], *, flush: bool = False) -> None:
        now = int(time.time())
        with self._lock:
            self._touched += [(now, key) for key in keys]
            if not self._touched or (len(self._touched) < _TOUCHES and not flush):
                return
            uses, self._touched = self._touched, []
        with self._careful(), self._connection() as connection:
            connection.executemany("UPDATE vectors SET used = ? WHERE key = ?", uses)

    def _shrink(self) -> None:
        connection = self._connection()
        while (size := self._size()) > self.limit:
            count = connection.execute("SELECT count(*) FROM vectors").fetchone()[0]
            if not count:
                return
            # A tenth more than there must be, so that this is rare.
            drop = max(1, int(count * min(1.0, 1.1 - self.limit / size)))
            with connection:
                connection.execute(
                    "DELETE FROM vectors WHERE key IN (SELECT key FROM vectors ORDER BY used LIMIT ?)",
                    (drop,),
                )
            connection.execute("PRAGMA incremental_vacuum").fetchall()

    def _size(self) -> int:
        """Bytes in use, by pages: adding up the values would read them all."""
        pages, free, each = (
            self._connection().execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * each)

    @contextlib.contextmanager
    def _careful(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as exc:
            self.trouble = f"{self.path}: the cache is not used ({exc})"
            if getattr(exc, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                self._damaged = True
                # Other processes go on with the file that they have open. The log first: it belongs to no other file.
                with contextlib.suppress(OSError):
                    for end in ("-wal", "-shm", ""):
                        Path(f"{self.path}{end}").unlink(missing_ok=True)


def _sealed(key: bytes, data: bytes) -> bytes:
    """A value with a checksum of it and of its key behind it."""
    return data + zlib.crc32(data, zlib.crc32(key)).to_bytes(4, "little")


def _opened(key: bytes, sealed: object) -> bytes | None:
    """The value without its checksum; None for one that is not as it was written."""
    if not isinstance(sealed, bytes):  # damage may make anything of it
        return None
    data = sealed[:-4]
    return data if _sealed(key, data) == sealed else None


def open_store(name: str = FEATURES) -> ByteStore:
    """A store of the user's: a file in the cache folder (`GRAFT_CACHE`), of `GRAFT_CACHE_GB` gigabytes at most.

    Raises:
        InputError: `GRAFT_CACHE_GB` is no positive number.
    """
    given = os.environ.get("GRAFT_CACHE_GB", str(DEFAULT_GB))
    try:
        limit = int(float(given) * 1e9)
        if limit <= 0:
            raise ValueError("not positive")
    except (ValueError, OverflowError) as exc:
        raise InputError(f"GRAFT_CACHE_GB is {given!r}; expected a positive number of gigabytes.") from exc
    return ByteStore(cache_folder() / name, limit)
