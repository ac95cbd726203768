"""A caller's place in a queue: what was handed in, the rows that come of it, and what is known of each run."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import CancelledError, DeadlineError, OverloadedError

Run = Callable[[Hashable, Sequence[Any], bool], Sequence[Any]]


class Ticket:
    """Items of one caller. Made by `Batcher.submit`; `result` waits for their rows."""

    def __init__(
        self,
        items: Sequence[Any],
        key: Hashable,
        deadline: float,
        clock: Callable[[], float] = time.monotonic,
        owner: Any = None,
    ) -> None:
        """What the clock may show at most when the rows are there is `deadline`; `owner` is for who hears of runs."""
        self.items, self.key, self.deadline, self.owner = items, key, deadline, owner
        self.queued_at = clock()
        self.began_at: float | None = None  # when the first run with an item of it began
        self.ended_at: float | None = None  # when the last row came
        self.largest_batch = 0  # most items in a run with one of it
        self.taken = 0  # items that a runner has
        self.cancelled = False
        self.at_once = False  # whether the caller's own thread ran it, so that it never waited
        self._clock = clock
        self._rows: dict[int, Any] = {}
        self._done = threading.Event()

    @property
    def done(self) -> bool:
        """Whether nobody has to wait for the rows any more."""
        return self._done.is_set()

    @property
    def waiting(self) -> int:
        """Items that somebody still wants and no runner has."""
        return 0 if self.cancelled else len(self.items) - self.taken

    def expired(self) -> bool:
        """Whether it is too late to begin."""
        return self.deadline <= self._clock()

    def cancel(self) -> None:
        """Nobody waits for the rows any more: what has not begun is not run. From any thread."""
        self.cancelled = True
        self._done.set()

    def begins(self, moment: float, batch: int) -> None:
        """Items of it run from this moment of the clock on, in a batch of so many."""
        self.began_at = moment if self.began_at is None else self.began_at
        self.largest_batch = max(self.largest_batch, batch)

    def deliver(self, index: int, row: Any) -> None:
        """Put a row in the place of its item. For one thread at a time."""
        self._rows[index] = row
        if len(self._rows) == len(self.items):
            self.ended_at = self._clock()
            self._done.set()

    def result(self) -> list[Any]:
        """Wait for the rows, one for each item in its place; an exception where an item has none.

        Raises:
            DeadlineError: they did not come in time.
            CancelledError: `cancel` was called.
        """
        self._done.wait(min(threading.TIMEOUT_MAX, max(0.0, self.deadline - self._clock())))
        if len(self._rows) == len(self.items):
            return [self._rows[i] for i in range(len(self.items))]
        if self.cancelled:
            raise CancelledError("the request was cancelled before its answer was ready.")
        self.cancel()
        raise DeadlineError(
            f"no answer within the time of the request, of which {self._clock() - self.queued_at:.3g} s were spent in "
            "the queue and the model. Send fewer images at a time, or allow more time."
        )


@dataclass(frozen=True)
class BatchReport:
    """One run: its key, number of items, the callers that had some in it, and when it began and how long it took."""

    key: Hashable
    size: int
    tickets: list[Ticket]
    began: float
    seconds: float

    @property
    def waits(self) -> list[float]:
        """Seconds that each caller's items had waited."""
        return [self.began - ticket.queued_at for ticket in self.tickets]


def too_many(queued: int, most: int, seconds: float) -> OverloadedError:
    """The refusal of a ticket: so many items wait, and will for so long."""
    return OverloadedError(
        f"{queued} images wait for the model; at most {most} may. Try again later.", seconds
    )


def taken(tickets: deque[Ticket], most: int) -> list[tuple[Ticket, int]]:
    """Take the next items of one key out of a queue; those for which it is too late, or nobody waits, go with them."""
    batch: list[tuple[Ticket, int]] = []
    while tickets and len(batch) < most:
        ticket = tickets[0]
        if not ticket.waiting or ticket.expired():
            tickets.popleft()
        elif batch and ticket.key != batch[0][0].key:
            break
        else:
            batch.append((ticket, ticket.taken))
            ticket.taken += 1
    return batch


def rows_of(run: Run, key: Hashable, items: Sequence[Any], crowded: bool) -> Sequence[Any]:
    """What `run` gives for items: a row for each, or the exception in its place that it raises for that one alone."""
    try:
        rows = run(key, items, crowded)
        if len(rows) != len(items):
            raise RuntimeError(f"a run gave {len(rows)} rows for {len(items)} items.")
        return rows
    except Exception as exc:
        if len(items) == 1:
            return [exc]
    # One of them may be at fault: the others are not to suffer from it.
    return [row for item in items for row in rows_of(run, key, [item], crowded)]
