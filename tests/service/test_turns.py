"""Turns at the cores: as many as there are, in the order of coming, and none is lost."""

from __future__ import annotations

import math
import threading
import time

from service.turns import Turns

WAIT_S = 60.0


def test_who_finds_none_waits_and_is_served_in_the_order_of_coming() -> None:
    turns = Turns(1)
    assert not turns.all_taken
    assert turns.take(math.inf)
    assert turns.all_taken
    order: list[int] = []
    begun = [threading.Event() for _ in range(3)]

    def work(number: int) -> None:
        begun[number].set()
        assert turns.take(time.monotonic() + WAIT_S)
        order.append(number)
        turns.give_back()

    threads = []
    for number in range(3):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        while len(turns._waiting) <= number:  # until it stands in the queue
            begun[number].wait(0.001)
    assert order == []
    turns.give_back()
    for thread in threads:
        thread.join(WAIT_S)
    assert order == [0, 1, 2]
    assert not turns.all_taken


def test_who_waited_in_vain_takes_nothing_away() -> None:
    turns = Turns(1)
    assert turns.take(math.inf)
    assert not turns.take(time.monotonic())
    turns.give_back()
    assert turns.take(time.monotonic())


def test_many_threads_are_never_more_at_work_than_there_are_turns() -> None:
    turns, changing = Turns(2), threading.Lock()
    working, most, done = 0, 0, 0

    def work() -> None:
        nonlocal working, most, done
        for _ in range(50):
            assert turns.take(math.inf)
            with changing:
                working += 1
                most = max(most, working)
            with changing:
                working -= 1
                done += 1
            turns.give_back()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert done == 400
    assert most <= 2
    assert not turns.all_taken
