"""Bytes by key in a file: safe with two processes, limited in size, never the reason that work stops."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from pathlib import Path

import pytest

from feature_extraction import byte_store as module
from feature_extraction.byte_store import ByteStore, open_store
from models.errors import InputError

LIMIT = 10_000_000


@pytest.fixture
def store(tmp_path: Path) -> ByteStore:
    return ByteStore(tmp_path / "deep" / "c.sqlite", LIMIT)


def key(i: int) -> bytes:
    return i.to_bytes(32, "big")


def test_what_is_put_is_found_again_after_closing(store: ByteStore) -> None:
    store.put([(key(1), b"one"), (key(2), b"two")])
    store.close()
    again = ByteStore(store.path, LIMIT)
    assert again.get([key(2), key(1)]) == [b"two", b"one"]
    assert again.get([key(1), key(3)]) is None
    assert again.info().values == 2
    again.clear()
    assert again.get([key(1)]) is None
    assert (again.info().values, again.info().path) == (0, store.path)
    again.close()


def test_size_is_limited_and_the_least_used_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000.0]
    monkeypatch.setattr(module.time, "time", lambda: now[0])
    store = ByteStore(tmp_path / "c.sqlite", 1_000_000)
    value = bytes(8192)
    for i in range(300):
        now[0] += module._FRESH + 1
        store.put([(key(i), value)])
        assert store.get([key(0)]) is not None, "it is used all the time"
        store._touch([], flush=True)
    info = store.info()
    assert info.size <= 1_000_000
    assert 50 < info.values < 130
    assert store.get([key(299)]) is not None
    assert store.get([key(1)]) is None
    assert store.path.stat().st_size < 1_500_000
    store.close()


def test_threads_share_it(store: ByteStore) -> None:
    def use(start: int) -> None:
        for i in range(start, start + 50):
            store.put([(key(i), b"%d" % i)])
            assert store.get([key(i)]) == [b"%d" % i]

    threads = [threading.Thread(target=use, args=(100 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.info().values == 200
    assert store.trouble == ""
    store.close()


def _fill(path: Path, start: int) -> None:
    store = ByteStore(path, LIMIT)
    for i in range(start, start + 100):
        store.put([(key(i), b"%d" % i)])
    assert store.trouble == ""
    store.close()


def test_two_processes_share_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_fill, args=(tmp_path / "c.sqlite", 1000 * n)) for n in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    store = ByteStore(tmp_path / "c.sqlite", LIMIT)
    assert store.info().values == 200
    store.close()


def test_damaged_file_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").write_bytes(b"no database" * 1000)
    store = ByteStore(tmp_path / "c.sqlite", LIMIT)
    store.put([(key(1), b"one")])
    assert store.get([key(1)]) == [b"one"]
    store.close()


def test_value_with_a_changed_byte_is_not_found(store: ByteStore) -> None:
    store.put([(key(1), b"value" * 1000), (key(2), b"other" * 1000)])
    store.close()
    data = store.path.read_bytes()
    store.path.write_bytes(data.replace(b"valuevalue", b"valueValue", 1))
    again = ByteStore(store.path, LIMIT)
    assert again.get([key(1)]) is None
    assert again.get([key(2)]) == [b"other" * 1000]
    again.put([(key(1), b"value")])
    assert again.get([key(1)]) == [b"value"]
    again.close()


def with_damaged_pages(store: ByteStore) -> ByteStore:
    """The store of a hundred values, all but the first pages of whose file are overwritten: they tell what is where."""
    for i in range(100):
        store.put([(key(i), bytes(2000))])
    store.close()
    data = store.path.read_bytes()
    store.path.write_bytes(data[:8192] + b"\xff" * (len(data) - 8192))
    return ByteStore(store.path, LIMIT)


def test_file_with_damaged_pages_is_left_and_the_next_one_is_whole(store: ByteStore) -> None:
    damaged = with_damaged_pages(store)
    assert [damaged.get([key(i)]) for i in range(100)] == [None] * 100
    assert "malformed" in damaged.trouble
    damaged.close()
    whole = ByteStore(store.path, LIMIT)
    whole.put([(key(1), b"one")])
    assert whole.get([key(1)]) == [b"one"]
    assert whole.trouble == ""
    whole.close()


def test_damaged_file_can_be_cleared(store: ByteStore) -> None:
    again = with_damaged_pages(store)
    again.clear()
    assert again.trouble == ""
    assert again.info().values == 0
    again.close()


def test_limit_smaller_than_an_empty_file_keeps_nothing(tmp_path: Path) -> None:
    store = ByteStore(tmp_path / "c.sqlite", 10)
    store.put([(key(1), bytes(1000))])
    assert store.info().values == 0
    assert store.trouble == ""
    store.close()


def test_file_that_cannot_be_used_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = ByteStore(tmp_path / "file" / "c.sqlite", LIMIT)
    store.put([(key(1), b"one")])
    assert store.get([key(1)]) is None
    assert "the cache is not used" in store.trouble
    store.close()


def test_error_in_the_middle_stops_nothing(store: ByteStore) -> None:
    connection = sqlite3.connect(store.path)
    connection.execute("DROP TABLE vectors")
    connection.close()
    store.put([(key(1), b"one")])
    assert store.get([key(1)]) is None
    assert "no such table" in store.trouble
    store.close()


def test_size_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_CACHE_GB", "0.5")
    store = open_store()
    assert store.limit == 500_000_000
    store.close()
    for wrong in ("0", "much", "inf"):
        monkeypatch.setenv("GRAFT_CACHE_GB", wrong)
        with pytest.raises(InputError, match="expected a positive number of gigabytes"):
            open_store()
