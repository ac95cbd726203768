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


def finish(steps: Steps[Result]) -> Result:
    """Take all steps, one after the other. What they raise is raised."""
    try:
        wanted = next(steps)
        while True:
            try:
                rows = _rows(wanted)
            except Exception as exc:
                wanted = steps.throw(exc)
            else:
                wanted = steps.send(rows)
    except StopIteration as end:
        result: Result = end.value
        return result


def finish_together(works: Sequence[Steps[Result]]) -> list[Result | Exception]:
    """Take the steps of several works side by side; the result of each, or what it raised."""
    outcomes: list[Any] = [None] * len(works)
    waiting: dict[int, Wanted] = {}

    def go_on(place: int, step: Callable[[Any], Wanted], given: Any) -> None:
        try:
            waiting[place] = step(given)
        except StopIteration as end:
            outcomes[place] = end.value
        except Exception as exc:
            outcomes[place] = exc

    for place, steps in enumerate(works):
        go_on(place, steps.send, None)
    while waiting:
        asked, waiting = waiting, {}
        for place, rows in zip(asked, _rows_of_all(list(asked.values())), strict=True):
            step = works[place].throw if isinstance(rows, Exception) else works[place].send
            go_on(place, step, rows)
    return outcomes


def _rows(wanted: Wanted) -> list[Any]:
    """The rows of one work, made by this thread where nobody waits."""
    if not wanted.on_cpu:
        end_turn()  # others are decoded meanwhile, and wait for the next batch
    return wanted.caller.rows(wanted.batcher, wanted.items, wanted.key)


def _rows_of_all(works: Sequence[Wanted]) -> list[list[Any] | Exception]:
    """The rows of each work, or why it has none. One run is for all of a network, by this thread where nobody waits."""
    tickets = [wanted.caller.ticket(wanted.items, wanted.key) for wanted in works]
    alike: dict[tuple[int, Hashable], list[int]] = {}
    for place, wanted in enumerate(works):
        alike.setdefault((id(wanted.batcher), wanted.key), []).append(place)
    failures: dict[int, Exception] = {}
    for places in alike.values():
        try:
            _give_in(
                [works[place] for place in places], [tickets[place] for place in places], places, failures
            )
        except Exception as exc:
            failures |= dict.fromkeys(places, exc)
    return [
        failures[place] if place in failures else _result(works[place].caller, ticket)
        for place, ticket in enumerate(tickets)
    ]


def _give_in(
    works: Sequence[Wanted], tickets: Sequence[Ticket], places: Sequence[int], failures: dict[int, Exception]
) -> None:
    """Have tickets of one network run here, or queue each of them; why one is refused stands in its place then."""
    batcher = works[0].batcher
    if works[0].on_cpu and batcher.run_here(tickets):
        return
    for place, wanted, ticket in zip(places, works, tickets, strict=True):
        try:
            wanted.caller.queue(batcher, ticket)
        except Exception as exc:
            failures[place] = _light(exc)


def _result(caller: Caller, ticket: Ticket) -> list[Any] | Exception:
    try:
        return caller.result(ticket)
    except Exception as exc:
        return _light(exc)


def _light(error: Exception) -> Exception:
    """A refusal without the frames it came through, which hold the images of all in a circle; a fault as it is."""
    return error.with_traceback(None) if isinstance(error, GraftError) else error
