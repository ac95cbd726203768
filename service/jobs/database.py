"""The records of a workspace: one SQLite file, of which many threads read and one at a time writes."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from models.errors import FullError, OutputError

Row = sqlite3.Row
_WAIT_S = 10.0
_STEPS = (
    """
CREATE TABLE datasets (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created REAL NOT NULL, revision INTEGER NOT NULL DEFAULT 1,
    ready INTEGER NOT NULL DEFAULT 1  -- 0 while it is taken in
);
CREATE TABLE classes (
    id TEXT PRIMARY KEY, dataset TEXT NOT NULL REFERENCES datasets ON DELETE CASCADE, name TEXT NOT NULL,
    UNIQUE (dataset, name)
);
-- file: within the workspace, or the path of one that lies elsewhere and stays there (kept = 0)
CREATE TABLE images (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
    dataset TEXT NOT NULL REFERENCES datasets ON DELETE CASCADE,
    class TEXT NOT NULL REFERENCES classes ON DELETE CASCADE,
    name TEXT NOT NULL, file TEXT NOT NULL, kept INTEGER NOT NULL, split TEXT,
    bytes INTEGER NOT NULL, digest BLOB NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    mode TEXT NOT NULL, format TEXT NOT NULL, pixels BLOB NOT NULL, flaw TEXT, detail TEXT
);
CREATE INDEX images_of_classes ON images (dataset, class);
-- what was noticed while images were taken in, and cannot be seen in what was kept
CREATE TABLE remarks (
    dataset TEXT NOT NULL REFERENCES datasets ON DELETE CASCADE, kind TEXT NOT NULL, message TEXT NOT NULL
);
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, dataset TEXT NOT NULL,
    revision INTEGER NOT NULL, settings TEXT NOT NULL, state TEXT NOT NULL, created REAL NOT NULL, started REAL,
    ended REAL, error TEXT, digest TEXT
);
CREATE TABLE promotions (
    job TEXT NOT NULL, model TEXT NOT NULL, version INTEGER NOT NULL, label TEXT, at REAL NOT NULL
);
CREATE TABLE labels (model TEXT NOT NULL, label TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (model, label));
""",
    # A number that was withdrawn is given to no other version.
    "ALTER TABLE promotions ADD COLUMN withdrawn REAL;",
)
VERSION = len(_STEPS)  # of the tables


class Database:
    """Opens the records, and makes or brings up to date their tables."""

    def __init__(self, file: Path) -> None:
        """
        Raises:
            OutputError: the file is no database of ours, is of a later version, or cannot be written.
        """
        self._file = file
        self._writing = threading.RLock()
        self._readers = threading.local()
        self._opened: list[sqlite3.Connection] = []
        try:
            self._writer = self._connect()
            self._writer.execute("PRAGMA journal_mode = WAL")
            self._bring_up_to_date()
        except sqlite3.Error as exc:
            raise OutputError(
                f"{file}: the records cannot be opened ({exc}). Choose another workspace, or bring the file back."
            ) from exc

    def _bring_up_to_date(self) -> None:
        (known,) = self._writer.execute("PRAGMA user_version").fetchone()
        if known > VERSION:
            raise OutputError(
                f"{self._file}: version {known} of the records; this Graft reads up to {VERSION}. Update Graft, or "
                "choose another workspace."
            )
        for number in range(known, VERSION):
            script = f"BEGIN IMMEDIATE; {_STEPS[number]}; PRAGMA user_version = {number + 1}; COMMIT;"
            self._writer.executescript(script)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._file, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        with self._writing:
            self._opened.append(connection)
        return connection

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """What a query finds."""
        connection = getattr(self._readers, "connection", None)
        if connection is None:
            connection = self._readers.connection = self._connect()
        rows: list[Row] = connection.execute(query, values).fetchall()
        return rows

    def row(self, query: str, values: Sequence[Any] = ()) -> Row | None:
        """The first row that a query finds."""
        return next(iter(self.rows(query, values)), None)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All that is written in the block is there afterwards, or nothing of it.

        Raises:
            FullError: the disk is full.
        """
        with self._writing:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer
                except BaseException:
                    if self._writer.in_transaction:  # SQLite ends it by itself where the disk is full
                        self._writer.execute("ROLLBACK")
                    raise
                self._writer.execute("COMMIT")
            except sqlite3.OperationalError as exc:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                if "full" in str(exc) or "disk I/O" in str(exc):
                    raise FullError(
                        f"{self._file}: the disk is full ({exc}). Free some space; nothing was changed."
                    ) from exc
                raise

    def close(self) -> None:
        """Let go of the file."""
        with self._writing:
            for connection in self._opened:
                connection.close()
            self._opened.clear()
