"""A limit on what is held at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from models.semaphore import WeightedSemaphore

SOON = 60.0  # seconds after which a test gives up; nothing waits so long


class Announced:
    """A lock that tells who comes to it."""

    def __init__(self, lock: threading.Lock, tell: Callable[[], None]) -> None:
        self._lock, self._tell = lock, tell

    def __enter__(self) -> None:
        self._tell()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Others:
    """Threads that want room, how far they have come, and the order in which they got it.

    Only what happens at this semaphore counts: threads wait elsewhere too, as each one does while it starts another.
    """

    def __init__(self, semaphore: WeightedSemaphore) -> None:
        self.semaphore, self.entered = semaphore, list[int]()
        self.at_the_door, self.waiting = threading.Semaphore(0), threading.Semaphore(0)
        wait = semaphore._left.wait

        def announced(timeout: float | None = None) -> bool:
            self.waiting.release()
            return wait(timeout)

        semaphore._left.wait = announced  # type: ignore[method-assign]
        semaphore._door = Announced(semaphore._door, self.at_the_door.release)  # type: ignore[assignment]

    def begin(self, weight: int) -> threading.Thread:
        def hold() -> None:
            with self.semaphore.hold(weight):
                self.entered.append(weight)

        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        assert self.at_the_door.acquire(timeout=SOON)
        return thread


def test_who_finds_too_little_room_waits() -> None:
    semaphore = WeightedSemaphore(100)
    with semaphore.hold(60), semaphore.hold(40):
        others = Others(semaphore)
        thread = others.begin(1)
        assert others.waiting.acquire(timeout=SOON)
        assert others.entered == []
    thread.join(SOON)
    assert others.entered == [1]


def test_small_one_does_not_pass_a_large_one_that_waits() -> None:
    semaphore = WeightedSemaphore(100)
    with semaphore.hold(60):
        others = Others(semaphore)
        large = others.begin(90)
        assert others.waiting.acquire(timeout=SOON)
        small = others.begin(20)  # there would be room for it now, and none beside the large one
        assert others.entered == []
    large.join(SOON)
    small.join(SOON)
    assert others.entered == [90, 20]


def test_larger_than_all_of_it_comes_alone() -> None:
    semaphore = WeightedSemaphore(100)
    with semaphore.hold(1):
        others = Others(semaphore)
        thread = others.begin(1000)
        assert others.waiting.acquire(timeout=SOON)
        assert others.entered == []
    thread.join(SOON)
    assert others.entered == [1000]


def test_room_is_given_back_after_an_error() -> None:
    semaphore = WeightedSemaphore(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"), semaphore.hold(1):
            raise ValueError("broken")
