"""Work done ahead in threads: order, bound, failures, and stopping early."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from feature_extraction.ordered import ordered_map


def test_results_come_in_order_and_no_more_is_begun_than_asked_for() -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        for i in itertools.count():
            taken.append(i)
            yield i

    results = ordered_map(lambda i: i * i, endless(), threads=3, ahead=5, name="test")
    for i in range(50):
        assert next(results) == i * i
        assert len(taken) == i + 6
    results.close()


def test_error_is_heard_of_in_its_place() -> None:
    results = ordered_map(lambda i: 1 // (3 - i), range(9), threads=2, ahead=4, name="test")
    assert list(itertools.islice(results, 3)) == [0, 0, 1]
    with pytest.raises(ZeroDivisionError, match="by zero"):
        next(results)


def test_stopping_early_leaves_what_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, door, real = list[int](), threading.Event(), ThreadPoolExecutor.shutdown

    def work(i: int) -> int:
        begun.append(i)
        if i:
            door.wait()
        return i

    def shutdown(*args: Any, **options: Any) -> None:
        real(*args, **options)
        door.set()  # what has begun may end

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shutdown)
    results = ordered_map(work, range(9), threads=1, ahead=5, name="test")
    assert next(results) == 0
    results.close()
    assert len(begun) <= 2, "what the thread was about to take may begin, and nothing after it"
