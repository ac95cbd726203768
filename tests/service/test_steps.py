"""Work in steps: alone, and side by side with that of others, by one thread."""

from __future__ import annotations

import gc
import math
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from models.errors import DeadlineError, InputError, OverloadedError
from service.batching import Batcher
from service.caller import Caller
from service.steps import Steps, Wanted, finish, finish_together

Runs = list[tuple[str, list[Any], str]]


@pytest.fixture
def runs() -> Runs:
    return []


@pytest.fixture
def batcher(runs: Runs) -> Iterator[Batcher]:
    def run(key: Any, items: Sequence[Any], crowded: bool) -> list[Any]:
        runs.append((key, list(items), threading.current_thread().name))
        return [ValueError("odd") if item == 13 else 2 * item for item in items]

    batcher = Batcher(run, largest=4, most_queued=4)
    yield batcher
    batcher.close()


def work(
    batcher: Batcher,
    *items: int,
    key: str = "",
    times: int = 1,
    deadline: float = math.inf,
    on_cpu: bool = True,
) -> Steps[list[Any]]:
    """Asks for rows so many times, and gives all of them."""
    rows: list[Any] = []
    for _ in range(times):
        rows += yield Wanted(batcher, items, key, Caller(deadline), on_cpu)
    return rows


def fails(error: Exception) -> Steps[list[Any]]:
    raise error
    yield


def test_work_alone_has_its_rows(batcher: Batcher, runs: Runs) -> None:
    assert finish(work(batcher, 1, 2, times=2)) == [2, 4, 2, 4]
    with pytest.raises(InputError, match="nothing"):
        finish(fails(InputError("nothing")))
    with pytest.raises(DeadlineError, match="no answer within"):
        finish(work(batcher, 1, deadline=0.0))


def test_works_side_by_side_are_answered_by_as_few_runs_as_it_goes(batcher: Batcher, runs: Runs) -> None:
    here = threading.current_thread().name
    works = [work(batcher, 1), work(batcher, 2, 3), work(batcher, 4, key="b"), work(batcher, 5, times=2)]
    assert finish_together(works) == [[2], [4, 6], [8], [10, 10]]
    assert runs == [("", [1, 2, 3, 5], here), ("b", [4], here), ("", [5], here)]


def test_work_that_fails_leaves_the_others_alone(batcher: Batcher, runs: Runs) -> None:
    error = ValueError("mine")
    outcomes = finish_together(
        [work(batcher, 1), fails(error), work(batcher, 2, deadline=0.0), work(batcher, 13, 3)]
    )
    assert outcomes[0] == [2]
    assert outcomes[1] is error
    assert isinstance(outcomes[2], DeadlineError)
    assert isinstance(outcomes[3], list)
    assert (type(outcomes[3][0]), outcomes[3][1]) == (ValueError, 6)


def test_work_hears_of_a_queue_that_is_full(batcher: Batcher, runs: Runs) -> None:
    """On another device the batcher's own thread runs what is queued, as much as there is room for."""
    caught = work(batcher, *range(5), on_cpu=False)
    refused, answered = finish_together([caught, work(batcher, 1, on_cpu=False)])
    assert isinstance(refused, OverloadedError)
    assert answered == [2]
    assert runs[0][2] == "graft-runner"


class Image:
    """Something that takes memory, and can be watched."""


@pytest.mark.parametrize(
    ("most_queued", "deadline", "error"),
    [(0, math.inf, OverloadedError), (4, 0.0, DeadlineError)],
    ids=["refused", "too late"],
)
def test_images_without_an_answer_are_let_go_of_at_once(
    most_queued: int, deadline: float, error: type[Exception]
) -> None:
    """Under load nobody can wait until Python looks for what stands in a circle."""
    batcher = Batcher(lambda key, items, crowded: list(items), largest=4, most_queued=most_queued)
    images = [Image() for _ in range(2)]
    watched = [weakref.ref(image) for image in images]

    def asks(image: Image) -> Steps[type[Exception] | None]:
        try:
            yield Wanted(batcher, [image], "", Caller(deadline), on_cpu=True)
        except error as exc:
            return type(exc)
        return None

    gc.disable()
    try:
        assert finish_together([asks(image) for image in images]) == [error] * 2
        images.clear()
        batcher.close()  # whose queue may hold what is too late
        assert [image() for image in watched] == [None] * 2
    finally:
        gc.enable()


def test_work_that_was_let_go_of_is_not_done(batcher: Batcher, runs: Runs) -> None:
    work(batcher, 1).close()
    assert finish_together([]) == []
    assert runs == []


def test_fault_of_a_run_is_told_to_all_works_that_are_in_it(
    batcher: Batcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("a fault")

    def broken(tickets: object) -> bool:
        raise error

    monkeypatch.setattr(batcher, "run_here", broken)
    assert finish_together([work(batcher, 1), work(batcher, 2)]) == [error, error]
    with pytest.raises(RuntimeError, match="a fault"):
        finish(work(batcher, 1))
