"""Turns at the cores: as many as there are, in the order of coming, and none is lost."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from service.front.threads import DaemonThreads
from service.steps import Steps
from service.turns import Job, Turns, end_turn

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
        end_turn()

    threads = []
    for number in range(3):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        while len(turns._waiting) <= number:  # until it stands in the queue
            begun[number].wait(0.001)
    assert order == []
    end_turn()
    for thread in threads:
        thread.join(WAIT_S)
    assert order == [0, 1, 2]
    assert not turns.all_taken


def test_who_waited_in_vain_takes_nothing_away() -> None:
    turns = Turns(1)
    assert turns.take(math.inf)
    assert turns.take(time.monotonic())  # it has one already
    results: list[bool] = []

    def work() -> None:
        results.append(turns.take(time.monotonic()))
        end_turn()

    for _ in range(2):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(WAIT_S)
        end_turn()
    assert results == [False, True]
    end_turn()  # there is none to end
    assert not turns.all_taken


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
            end_turn()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert done == 400
    assert most <= 2
    assert not turns.all_taken


@pytest.fixture
def turns() -> Turns:
    return Turns(1)


@pytest.fixture
def threads(turns: Turns) -> Iterator[DaemonThreads]:
    threads = DaemonThreads(8, "test-turns", turns)
    yield threads
    threads.shutdown()


def test_jobs_are_done_in_turns_and_by_the_thread_that_is_at_work(
    turns: Turns, threads: DaemonThreads
) -> None:
    gate, done = threading.Event(), threading.Event()
    names: list[str] = []

    def job() -> None:
        assert gate.wait(WAIT_S)
        assert turns.take(0.0)  # it has one
        end_turn(of_job=False)
        assert turns.all_taken
        names.append(threading.current_thread().name)
        if len(names) == 10:
            done.set()

    for _ in range(10):
        threads.submit(job)
    gate.set()
    assert done.wait(WAIT_S)
    assert names == ["test-turns-1"] * 10


def test_who_has_an_answer_finds_its_turn_free(
    turns: Turns, threads: DaemonThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_taken: list[bool] = []

    async def one() -> int:
        loop = asyncio.get_running_loop()
        deliver = loop.call_soon_threadsafe

        def note(*call: object) -> object:
            all_taken.append(turns.all_taken)
            return deliver(*call)  # type: ignore[arg-type]

        monkeypatch.setattr(loop, "call_soon_threadsafe", note)
        return await threads.run(lambda: 1 + turns.all_taken)

    assert asyncio.run(one()) == 2
    assert all_taken[0] is False
    assert not turns.all_taken  # and nobody gave it back twice
    assert turns._free == 1


def test_a_job_that_waits_lets_the_next_one_begin(turns: Turns, threads: DaemonThreads) -> None:
    gate, done = threading.Event(), threading.Event()

    def patient() -> None:
        end_turn()
        assert gate.wait(WAIT_S)
        assert turns.take(math.inf)  # and has one again for the rest, to the end of the job
        done.set()

    threads.submit(patient)
    threads.submit(gate.set)
    assert done.wait(WAIT_S)
    end = threading.Event()
    threads.submit(end.set)
    assert end.wait(WAIT_S)


def test_a_job_that_fails_ends_its_turn(threads: DaemonThreads) -> None:
    with pytest.raises(ZeroDivisionError, match="division"):
        asyncio.run(threads.run(lambda: 1 / 0))
    assert asyncio.run(threads.run(lambda: 2)) == 2


def test_a_thread_that_waits_comes_before_later_jobs(turns: Turns, threads: DaemonThreads) -> None:
    assert turns.take(math.inf)
    order: list[str] = []
    done = threading.Event()
    waits = threading.Thread(target=lambda: (turns.take(math.inf), order.append("thread"), end_turn()))
    waits.start()
    while not turns._waiting:
        done.wait(0.001)
    threads.submit(lambda: (order.append("job"), done.set()))
    end_turn()
    assert done.wait(WAIT_S)
    waits.join(WAIT_S)
    assert order == ["thread", "job"]


def test_jobs_that_wait_are_joined_but_not_all_of_them(threads: DaemonThreads, turns: Turns) -> None:
    gate, begun = threading.Event(), threading.Event()
    sizes: list[int] = []

    def steps(number: int) -> Steps[int]:
        return number
        yield

    def joined(jobs: Sequence[Job]) -> Job:
        sizes.append(len(jobs))
        return DaemonThreads._joined(threads, jobs)

    def wait() -> None:
        begun.set()
        assert gate.wait(WAIT_S)

    async def answer(i: int) -> int:
        return await threads.future_of(steps(i), (1 << 30) * (i == 9))

    async def all_of_them() -> list[int]:
        threads._joined = joined  # type: ignore[method-assign]
        threads.submit(wait)
        await asyncio.to_thread(begun.wait, WAIT_S)
        works = [asyncio.create_task(answer(i)) for i in range(10)]
        while len(turns._waiting) < 10:
            await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(*works)

    turns._most = 2  # as if another turn were to end, too
    assert asyncio.run(all_of_them()) == list(range(10))
    assert sizes == [5, 3]  # half of those that wait, rounded up; then 1 of 2, and one that goes alone


def test_jobs_are_measured_by_what_they_take_of_a_core_whoever_else_has_it(
    turns: Turns, threads: DaemonThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a busy machine would have fewer of them joined, which costs more of it."""
    spent, measured = iter([7.0, 7.25]), []
    monkeypatch.setattr("service.front.threads.time.thread_time", lambda: next(spent))
    monkeypatch.setattr(turns, "took", lambda seconds, jobs: measured.append((seconds, jobs)))

    def steps() -> Steps[int]:
        return 1
        yield

    async def answer() -> int:
        return await threads.future_of(steps(), 1)

    assert asyncio.run(answer()) == 1
    assert measured == [(0.25, 1)]


def test_jobs_that_take_long_are_joined_no_more(turns: Turns) -> None:
    assert turns._together > 1
    for _ in range(100):
        turns.took(1.0, 2)
    assert turns._together == 1
    for _ in range(100):
        turns.took(0.004, 2)
    assert turns._together == 8
