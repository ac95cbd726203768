"""A limit on what is held at once."""

from __future__ import annotations

import threading

import pytest

from models.semaphore import WeightedSemaphore

SOON = 10.0  # seconds after which a test gives up; nothing waits so long


class Waiting:
    """Threads that want room, and what happened in which order."""

    def __init__(self, room: WeightedSemaphore) -> None:
        self.room, self.entered = room, list[int]()

    def begin(self, weight: int) -> threading.Thread:
        def hold() -> None:
            with self.room.hold(weight):
                self.entered.append(weight)

        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        return thread


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Counts how often a thread found too little room."""
    count = threading.Semaphore(0)
    real = threading.Condition.wait

    def wait(self: threading.Condition, timeout: float | None = None) -> bool:
        if timeout is None:
            count.release()
        return real(self, timeout)

    monkeypatch.setattr(threading.Condition, "wait", wait)
    return count


def test_who_finds_too_little_room_waits(waits: threading.Semaphore) -> None:
    others = Waiting(WeightedSemaphore(100))
    with others.room.hold(60), others.room.hold(40):
        thread = others.begin(1)
        assert waits.acquire(timeout=SOON)
        assert others.entered == []
    thread.join(SOON)
    assert others.entered == [1]


def test_small_one_does_not_pass_a_large_one_that_waits(waits: threading.Semaphore) -> None:
    others = Waiting(WeightedSemaphore(100))
    with others.room.hold(60):
        large = others.begin(90)
        assert waits.acquire(timeout=SOON)
        small = others.begin(10)  # there would be room for it
        small.join(0.05)
        assert others.entered == []
    large.join(SOON)
    small.join(SOON)
    assert others.entered == [90, 10]


def test_larger_than_all_of_it_comes_alone(waits: threading.Semaphore) -> None:
    others = Waiting(WeightedSemaphore(100))
    with others.room.hold(1):
        thread = others.begin(1000)
        assert waits.acquire(timeout=SOON)
        assert others.entered == []
    thread.join(SOON)
    assert others.entered == [1000]


def test_room_is_given_back_after_an_error() -> None:
    room = WeightedSemaphore(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"), room.hold(1):
            raise ValueError("broken")
