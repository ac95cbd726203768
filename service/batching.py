"""Batches of what many callers want at once: a callable, a bounded queue, a clock. Knows nothing of HTTP or models.

No runner waits for a batch to fill: who is free takes what is queued, so batches grow under load by themselves.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from service.tickets import BatchReport, Run, Ticket, rows_of, taken, too_many

_MEMORY = 0.8  # weight of the past in the moving average of run times


class Batcher:
    """Runs queued items in batches, in the order of their coming."""

    def __init__(
        self,
        run: Run,
        *,
        largest: int,
        most_queued: int,
        runners: int = 1,
        item_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        watch: Callable[[BatchReport], None] = lambda report: None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """`run(key, items, crowded)` gives a row, or an exception, for each of at most `largest` items of one key;
        `crowded` says that others run or wait, or that all is `busy`. `runners`: how often it is called at once, by as
        many threads of its own or by those of callers. `item_s`: a first guess of its seconds.
        """
        self.largest, self.most_queued, self.runners = largest, most_queued, runners
        self._run, self._watch, self._clock, self._busy = run, watch, clock, busy
        self._tickets: deque[Ticket] = deque()
        self._state = threading.Condition()
        self._running, self._closed = 0, False
        self._item_s = item_s  # seconds of a run for each of its items, moving average
        name = "graft-runner"
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for _ in range(runners)]
        for thread in self._threads:
            thread.start()

    @property
    def queued(self) -> int:
        """Items that no runner has taken yet."""
        with self._state:
            return self._waiting()

    @property
    def seconds_to_empty(self) -> float:
        """How long what is queued will take, as fast as it went lately."""
        return self.queued * self._item_s / self.runners

    def submit(
        self, items: Sequence[Any], key: Hashable = "", deadline: float = math.inf, owner: Any = None
    ) -> Ticket:
        """`queue` for a ticket that is made of items."""
        self.queue(ticket := Ticket(items, key, deadline, self._clock, owner))
        return ticket

    def queue(self, ticket: Ticket) -> None:
        """Let a ticket wait for a runner.

        Raises:
            OverloadedError: the queue is full.
        """
        with self._state:
            queued = self._waiting()
            if self._closed or queued + len(ticket.items) > self.most_queued:
                raise too_many(queued, self.most_queued, queued * self._item_s / self.runners)
            self._tickets.append(ticket)
            self._state.notify(len(ticket.items))

    def run_here(self, tickets: Sequence[Ticket]) -> bool:
        """Run tickets of one key by this thread, before this returns, where nobody waits and a runner would be free.

        Returns whether that was so. Items of a single ticket that several runners would share are left to them.
        """
        with self._state:
            if self._closed or self._waiting() or self._running >= self.runners:
                return False
            wanted = [one for one in tickets if one.waiting and not one.expired()]
            if not (batch := [(one, i) for one in wanted for i in range(len(one.items))]):
                return True
            most = self._share(len(batch)) if len(tickets) == 1 else self.most_queued
            if len(batch) > min(most, self.most_queued):
                return False
            for ticket in wanted:
                ticket.taken, ticket.at_once = len(ticket.items), True
            crowded = self._begin()
        self._serve([batch[i : i + self.largest] for i in range(0, len(batch), self.largest)], crowded)
        return True

    def close(self) -> None:
        """Take no more, run what is queued, and end the threads."""
        with self._state:
            self._closed = True
            self._state.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._closed or (self._tickets and self._running < self.runners))
                if not (batch := taken(self._tickets, self._share(self._waiting()))):
                    if self._closed:
                        return
                    continue
                crowded = self._begin()
            self._serve([batch], crowded)
            del batch  # while it waits, it holds nothing of its callers

    def _waiting(self) -> int:
        return sum(ticket.waiting for ticket in self._tickets)

    def _begin(self) -> bool:
        """Count one run more; whether it is not alone."""
        self._running += 1
        return self._running > 1 or self._waiting() > 0 or self._busy()

    def _share(self, waiting: int) -> int:
        """How many of the waiting items one runner takes, where others are free too."""
        return min(self.largest, max(1, math.ceil(waiting / max(1, self.runners - self._running))))

    def _serve(self, batches: Sequence[list[tuple[Ticket, int]]], crowded: bool) -> None:
        """Run batches, one after the other, for which one run was counted."""
        for batch in batches:
            began, tickets = self._clock(), list(dict.fromkeys(ticket for ticket, _ in batch))
            for ticket in tickets:
                ticket.begins(began, len(batch))
            rows = rows_of(self._run, tickets[0].key, [ticket.items[i] for ticket, i in batch], crowded)
            seconds = self._clock() - began
            # Before the rows are handed out: who has an answer finds its run counted.
            self._watch(BatchReport(tickets[0].key, len(batch), tickets, began, seconds))
            with self._state:
                if batch is batches[-1]:
                    self._running -= 1
                    if self._tickets:  # a runner may have waited for the end of a run of others
                        self._state.notify()
                self._item_s += (1 - _MEMORY if self._item_s else 1.0) * (seconds / len(batch) - self._item_s)
                for (ticket, i), row in zip(batch, rows, strict=True):
                    ticket.deliver(i, row)
