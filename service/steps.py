"""Work that goes in steps: where it needs rows of a model it says which, and somebody brings them.

So one thread can work on several requests side by side: all are decoded, then one run answers them together. What
Python does for a request takes several times as long when a run of a network has just emptied the processor's caches;
side by side that is paid once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from models.errors import GraftError
from service.batching import Batcher
from service.caller import Caller
from service.tickets import Ticket
from service.turns import end_turn

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Wanted:
    """Rows of a model that somebody waits for: one for each of the items. `on_cpu`: the cores make them."""

    batcher: Batcher
    items: Sequence[Any]
    key: Hashable
    caller: Caller
    on_cpu: bool


Steps = Generator[Wanted, list[Any], Result]
Rows = list[Any] | GraftError


def finish(steps: Steps[Result]) -> Result:
    """Take all steps, one after the other. What they raise is raised."""
    try:
        wanted = next(steps)
        while True:
            try:
                rows = _rows(wanted)
            except GraftError as exc:
                wanted = steps.throw(exc)
            else:
                wanted = steps.send(rows)
    except StopIteration as end:
        result: Result = end.value
        return result


def finish_together(works: Sequence[Steps[Result]]) -> list[Result | Exception]:
    """Take the steps of several works side by side; the result of each, or what it raised."""
    outcomes: dict[int, Result | Exception] = {}
    waiting: dict[int, Wanted] = {}

    def go_on(place: int, step: Callable[[], Wanted]) -> None:
        try:
            waiting[place] = step()
        except StopIteration as end:
            outcomes[place] = end.value
        except Exception as exc:
            outcomes[place] = exc

    for place, steps in enumerate(works):
        go_on(place, steps.__next__)
    while waiting:
        asked, waiting = waiting, {}
        for place, rows in zip(asked, _rows_of_all(list(asked.values())), strict=True):
            steps = works[place]
            if isinstance(rows, GraftError):
                go_on(place, lambda steps=steps, rows=rows: steps.throw(rows))  # type: ignore[misc]
            else:
                go_on(place, lambda steps=steps, rows=rows: steps.send(rows))  # type: ignore[misc]
    return [outcomes[place] for place in range(len(works))]


def _rows(wanted: Wanted) -> list[Any]:
    """The rows of one work, made by this thread where nobody waits."""
    if not wanted.on_cpu:
        end_turn()  # others are decoded meanwhile, and wait for the next batch
    return wanted.caller.rows(wanted.batcher, wanted.items, wanted.key)


def _rows_of_all(works: Sequence[Wanted]) -> list[Rows]:
    """The rows of each work: those of one network go in one run, made by this thread where nobody waits."""
    tickets = [one.caller.ticket(one.items, one.key) for one in works]
    refusals: dict[int, GraftError] = {}
    for places in _alike(works):
        first = works[places[0]]
        if first.on_cpu and first.batcher.run_here([tickets[i] for i in places]):
            continue
        for i in places:
            try:
                works[i].caller.queue(first.batcher, tickets[i])
            except GraftError as exc:
                refusals[i] = exc
    return [refusals[i] if i in refusals else _result(one.caller, tickets[i]) for i, one in enumerate(works)]


def _alike(works: Sequence[Wanted]) -> list[list[int]]:
    """The places of works that may go in one run."""
    places: dict[tuple[int, Hashable], list[int]] = {}
    for i, wanted in enumerate(works):
        places.setdefault((id(wanted.batcher), wanted.key), []).append(i)
    return list(places.values())


def _result(caller: Caller, ticket: Ticket) -> Rows:
    try:
        return caller.result(ticket)
    except GraftError as exc:
        return exc
