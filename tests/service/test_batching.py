"""The batcher, with a plain function for a model and a clock of the test's own."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from models.errors import CancelledError, DeadlineError, OverloadedError
from service.batching import Batcher
from service.tickets import BatchReport, Ticket

WAIT_S = 120.0  # never waited for in full: a test that is right is woken


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Model:
    """Doubles numbers. Runs only as far as the test lets it, so that the queue is what the test says."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[Any], bool]] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)

    def __call__(self, key: str, items: Sequence[Any], crowded: bool) -> list[Any]:
        self.batches.append((key, list(items), crowded))
        self.entered.release()
        assert self.gate.acquire(timeout=WAIT_S)
        if any(item is None for item in items):
            raise ValueError("a bad item")
        return [ValueError("odd") if item == 13 else 2 * item for item in items]

    def wait_for_a_run(self) -> None:
        assert self.entered.acquire(timeout=WAIT_S)

    def let_run(self, times: int = 1) -> None:
        self.gate.release(times)


def ticket_of(batcher: Batcher, items: list[Any], key: str = "", deadline: float = math.inf) -> Ticket:
    """A ticket that is not queued yet, by the batcher's own clock."""
    return Ticket(items, key, deadline, batcher._clock)


def ask(batcher: Batcher, items: list[Any], deadline: float = math.inf) -> Ticket:
    """A ticket that this thread runs by itself where it can, and is queued where not."""
    ticket = ticket_of(batcher, items, deadline=deadline)
    if not batcher.run_here([ticket]):
        batcher.queue(ticket)
    return ticket


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reports() -> list[BatchReport]:
    return []


@pytest.fixture
def batcher(model: Model, clock: Clock, reports: list[BatchReport]) -> Iterator[Batcher]:
    batcher = Batcher(model, largest=4, most_queued=8, clock=clock, watch=reports.append)
    yield batcher
    model.let_run(1000)
    batcher.close()


def test_who_comes_alone_is_not_kept_waiting(batcher: Batcher, model: Model) -> None:
    model.let_run()
    assert batcher.submit([1]).result() == [2]
    assert model.batches == [("", [1], False)]


def test_what_is_queued_meanwhile_runs_together_and_everybody_gets_his_own(
    batcher: Batcher, model: Model
) -> None:
    first = batcher.submit([1])
    model.wait_for_a_run()
    later = [batcher.submit([2, 3]), batcher.submit([4]), batcher.submit([5, 6, 7])]
    assert batcher.queued == 6
    model.let_run(3)
    assert [ticket.result() for ticket in (first, *later)] == [[2], [4, 6], [8], [10, 12, 14]]
    assert [items for _, items, _ in model.batches] == [[1], [2, 3, 4, 5], [6, 7]]
    assert [crowded for *_, crowded in model.batches] == [False, True, False]


def test_a_batch_has_one_key(batcher: Batcher, model: Model) -> None:
    batcher.submit([0])
    model.wait_for_a_run()
    tickets = [batcher.submit([1], "a"), batcher.submit([2], "b"), batcher.submit([3], "a")]
    model.let_run(4)
    assert [ticket.result() for ticket in tickets] == [[2], [4], [6]]
    assert [(key, items) for key, items, _ in model.batches[1:]] == [("a", [1]), ("b", [2]), ("a", [3])]


def test_an_error_of_one_item_stays_with_it(batcher: Batcher, model: Model) -> None:
    batcher.submit([0])
    model.wait_for_a_run()
    good, odd, bad = batcher.submit([1]), batcher.submit([13, 5]), batcher.submit([None])
    model.let_run(10)
    assert good.result() == [2]
    assert isinstance(odd.result()[0], ValueError)
    assert odd.result()[1] == 10
    assert isinstance(bad.result()[0], ValueError)


def test_a_full_queue_refuses_and_says_when_to_come_again(
    batcher: Batcher, model: Model, clock: Clock
) -> None:
    first = batcher.submit([1])
    model.wait_for_a_run()
    clock.now += 2.0  # the run takes two seconds for one item
    model.let_run()
    first.result()
    running = batcher.submit([1])
    model.wait_for_a_run()
    batcher.submit([1] * 8)
    with pytest.raises(OverloadedError, match="8 images wait for the model; at most 8 may") as refusal:
        batcher.submit([1])
    assert refusal.value.retry_after == pytest.approx(16.0)
    model.let_run(3)
    running.result()


def test_a_run_that_failed_does_not_stop_the_queue(batcher: Batcher, model: Model) -> None:
    model.let_run(2)
    assert isinstance(batcher.submit([None]).result()[0], ValueError)
    assert batcher.submit([3]).result() == [6]


def test_what_is_too_late_is_not_run(batcher: Batcher, model: Model, clock: Clock) -> None:
    batcher.submit([1])
    model.wait_for_a_run()
    late, patient = batcher.submit([2, 3], deadline=105.0), batcher.submit([4])
    clock.now = 105.0
    model.let_run(2)
    assert patient.result() == [8]
    with pytest.raises(DeadlineError, match="of the request, of which 5 s were spent in the queue"):
        late.result()
    assert [items for _, items, _ in model.batches] == [[1], [4]]


def test_what_was_cancelled_is_not_run_and_makes_room(batcher: Batcher, model: Model) -> None:
    batcher.submit([1])
    model.wait_for_a_run()
    unwanted = batcher.submit([2] * 8)
    unwanted.cancel()
    assert batcher.queued == 0
    wanted = batcher.submit([3])
    model.let_run(2)
    assert wanted.result() == [6]
    with pytest.raises(CancelledError, match="cancelled before its answer"):
        unwanted.result()
    assert [items for _, items, _ in model.batches] == [[1], [3]]


def test_a_cancelled_queue_leaves_the_runner_asleep(batcher: Batcher, model: Model) -> None:
    """A runner that went round and round over tickets that nobody wants would take a core."""
    batcher.submit([1])
    model.wait_for_a_run()
    batcher.submit([2]).cancel()
    model.let_run()
    model.let_run()
    assert batcher.submit([3]).result() == [6]
    batcher.close()  # the runner has looked at the queue once more
    assert not batcher._tickets


def test_a_rest_is_dropped_when_its_caller_leaves_in_the_middle(batcher: Batcher, model: Model) -> None:
    ticket = batcher.submit([1, 2, 3, 4, 5, 6])
    model.wait_for_a_run()
    ticket.cancel()
    model.let_run(2)
    assert batcher.submit([7]).result() == [14]
    assert [items for _, items, _ in model.batches] == [[1, 2, 3, 4], [7]]


def test_runners_share_what_is_there(model: Model) -> None:
    batcher = Batcher(model, largest=8, most_queued=100, runners=2)
    busy = [batcher.submit([0]), batcher.submit([0])]
    for _ in busy:
        model.wait_for_a_run()
    tickets = [batcher.submit([i]) for i in range(1, 7)]
    model.let_run(1)  # one runner comes back, and the other is still busy: it takes what it may
    model.wait_for_a_run()
    model.let_run(100)
    assert [ticket.result() for ticket in tickets] == [[2 * i] for i in range(1, 7)]
    batcher.close()
    assert model.batches[2][1] == [1, 2, 3, 4, 5, 6]


def test_two_free_runners_take_half_each(model: Model) -> None:
    batcher = Batcher(model, largest=8, most_queued=100, runners=2)
    ticket = batcher.submit([1, 2, 3, 4])
    model.wait_for_a_run()
    model.wait_for_a_run()
    model.let_run(2)
    assert ticket.result() == [2, 4, 6, 8]
    batcher.close()
    assert [len(items) for _, items, _ in model.batches] == [2, 2]


def test_closing_finishes_what_is_queued_and_takes_no_more(model: Model) -> None:
    batcher = Batcher(model, largest=4, most_queued=8)
    ticket = batcher.submit([1, 2, 3, 4, 5])
    model.let_run(2)
    batcher.close()
    assert ticket.result() == [2, 4, 6, 8, 10]
    with pytest.raises(OverloadedError, match="wait for the model"):
        batcher.submit([1])


def test_every_run_is_reported(
    batcher: Batcher, model: Model, clock: Clock, reports: list[BatchReport]
) -> None:
    first = batcher.submit([1])
    model.wait_for_a_run()
    second = batcher.submit([2, 3], "b")
    clock.now += 1.5
    model.let_run(2)
    first.result()
    second.result()
    batcher.close()
    assert [(r.key, r.size) for r in reports] == [("", 1), ("b", 2)]
    assert reports[0].seconds == 1.5
    assert reports[1].waits == [1.5]


def test_many_callers_at_once_each_get_their_own() -> None:
    batcher = Batcher(
        lambda _, items, __: [3 * item for item in items], largest=8, most_queued=10_000, runners=3
    )
    wrong: list[Any] = []

    def call(number: int) -> None:
        for size in range(1, 20):
            items = [number * 1000 + i for i in range(size)]
            if batcher.submit(items).result() != [3 * item for item in items]:
                wrong.append(items)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    batcher.close()
    assert not wrong


def test_a_run_with_too_few_rows_is_an_error_and_the_runner_lives() -> None:
    batcher = Batcher(lambda _, items, __: list(items)[1:], largest=4, most_queued=8)
    assert [type(row) for row in batcher.submit([1, 2]).result()] == [RuntimeError, RuntimeError]
    assert isinstance(batcher.submit([3]).result()[0], RuntimeError)
    batcher.close()


def test_the_callers_own_thread_runs_where_nobody_waits(model: Model) -> None:
    threads: list[str] = []

    def run(key: str, items: Sequence[Any], crowded: bool) -> list[Any]:
        threads.append(threading.current_thread().name)
        return [2 * item for item in items]

    batcher = Batcher(run, largest=4, most_queued=8)
    ticket = ask(batcher, [1, 2])
    assert ticket.result() == [2, 4]
    assert ticket.largest_batch == 2
    assert ask(batcher, [1, 2, 3, 4, 5]).result() == [2, 4, 6, 8, 10]  # more than go in one run
    assert batcher.submit([1]).result() == [2]
    assert threads[0] == threading.current_thread().name
    assert set(threads[1:]) == {"graft-runner"}
    batcher.close()


def test_who_finds_others_waits_in_the_queue_and_is_run_when_they_are_done(
    batcher: Batcher, model: Model
) -> None:
    own = threading.Thread(target=lambda: ask(batcher, [1]).result())
    own.start()
    model.wait_for_a_run()
    second, third = ask(batcher, [2]), ask(batcher, [3])
    assert batcher.queued == 2
    model.let_run(2)
    assert [second.result(), third.result()] == [[4], [6]]
    own.join(WAIT_S)
    assert [items for _, items, _ in model.batches] == [[1], [2, 3]]


def test_two_of_several_runners_may_be_callers_and_the_third_waits(model: Model) -> None:
    batcher = Batcher(model, largest=4, most_queued=8, runners=2)
    callers = [threading.Thread(target=lambda i=i: ask(batcher, [i]).result()) for i in range(2)]
    for caller in callers:
        caller.start()
        model.wait_for_a_run()
    waiting = ask(batcher, [7])
    assert batcher.queued == 1
    model.let_run(3)
    assert waiting.result() == [14]
    for caller in callers:
        caller.join(WAIT_S)
    batcher.close()


def test_what_is_too_late_is_not_run_here_either(batcher: Batcher, model: Model, clock: Clock) -> None:
    with pytest.raises(DeadlineError, match="no answer within"):
        ask(batcher, [1], deadline=clock.now).result()
    assert model.batches == []


def test_a_run_is_crowded_where_the_machine_is_busy(model: Model) -> None:
    busy = False
    batcher = Batcher(model, largest=4, most_queued=8, busy=lambda: busy)
    model.let_run(2)
    ask(batcher, [1])
    busy = True
    ask(batcher, [1])
    assert [crowded for _, _, crowded in model.batches] == [False, True]
    batcher.close()


def test_tickets_of_several_callers_are_run_together_by_the_thread_that_works_for_them(
    batcher: Batcher, model: Model, clock: Clock, reports: list[BatchReport]
) -> None:
    tickets = [ticket_of(batcher, items) for items in ([1, 2], [3], [13, 4], [5])]
    late, left = ticket_of(batcher, [6], deadline=clock.now), ticket_of(batcher, [7])
    left.cancel()
    model.let_run(2)
    assert batcher.run_here([late, *tickets, left])
    rows = [ticket.result() for ticket in tickets]
    assert [rows[0], rows[1], rows[2][1:], rows[3]] == [[2, 4], [6], [8], [10]]
    assert isinstance(rows[2][0], ValueError)
    assert [items for _, items, _ in model.batches] == [[1, 2, 3, 13], [4, 5]]
    assert [report.size for report in reports] == [4, 2]
    assert [ticket.largest_batch for ticket in tickets] == [4, 4, 4, 2]
    with pytest.raises(DeadlineError, match="no answer within"):
        late.result()
    with pytest.raises(CancelledError, match="cancelled"):
        left.result()
    assert batcher.run_here([late])  # there is nothing to run, and so nobody to wait for


def test_tickets_are_not_run_here_where_a_runner_is_at_work_or_others_wait(
    batcher: Batcher, model: Model
) -> None:
    first = batcher.submit([1])
    model.wait_for_a_run()
    own = [ticket_of(batcher, [2]), ticket_of(batcher, [3])]
    assert not batcher.run_here(own)
    waiting = batcher.submit([4])
    model.let_run()
    first.result()
    model.wait_for_a_run()
    assert not batcher.run_here(own)
    for ticket in own:
        batcher.queue(ticket)
    model.let_run(2)
    assert [ticket.result() for ticket in (waiting, *own)] == [[8], [4], [6]]
