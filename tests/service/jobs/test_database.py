"""Records: brought up to date, whole or not at all, and refused where they are of a later version."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from models.errors import FullError, OutputError
from service.jobs import database
from service.jobs.database import VERSION, Database


def test_a_file_of_an_earlier_version_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(database, "VERSION", 1)
        old = Database(tmp_path / "a.db")
        with old.writing() as records:
            records.execute("INSERT INTO promotions (job, model, version, at) VALUES ('j', 'm', 1, 0)")
        old.close()
    new = Database(tmp_path / "a.db")
    assert dict(new.rows("SELECT model, withdrawn FROM promotions")[0]) == {"model": "m", "withdrawn": None}
    assert new.rows("PRAGMA user_version")[0][0] == VERSION
    assert new.rows("PRAGMA journal_mode")[0][0] == "wal"
    new.close()


def test_a_file_of_a_later_version_stays_as_it_is(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as records:
        records.execute("PRAGMA user_version = 99")
    records.close()
    with pytest.raises(OutputError, match="version 99 of the records; this Graft reads up to"):
        Database(tmp_path / "a.db")


def test_what_breaks_off_changes_nothing(tmp_path: Path) -> None:
    records = Database(tmp_path / "a.db")

    def write() -> None:
        with records.writing() as writer:
            writer.execute("INSERT INTO datasets (id, name, created) VALUES ('a', 'a', 0)")
            raise ValueError("broken off")

    with pytest.raises(ValueError, match="broken off"):
        write()
    assert records.rows("SELECT * FROM datasets") == []
    records.close()


def test_a_full_disk_changes_nothing_and_is_told(tmp_path: Path) -> None:
    records = Database(tmp_path / "a.db")

    def write() -> None:
        with records.writing() as writer:
            writer.execute("PRAGMA max_page_count = 1")
            for i in range(2000):
                writer.execute(
                    "INSERT INTO datasets (id, name, created) VALUES (?, ?, 0)", (str(i), "x" * 1000)
                )

    with pytest.raises(FullError, match="the disk is full"):
        write()
    assert records.rows("SELECT * FROM datasets") == []
    records.close()


def test_many_threads_read_while_one_writes(tmp_path: Path) -> None:
    records = Database(tmp_path / "a.db")
    failures: list[Exception] = []

    def work(first: int) -> None:
        try:
            for i in range(first, first + 20):
                with records.writing() as writer:
                    writer.execute("INSERT INTO datasets (id, name, created) VALUES (?, 'x', 0)", (str(i),))
                assert records.row("SELECT * FROM datasets WHERE id = ?", (str(i),)) is not None
        except Exception as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(records.rows("SELECT * FROM datasets")) == 80
    records.close()
