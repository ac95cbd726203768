"""Who waits for an answer."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.errors import CancelledError, DeadlineError, GraftError
from service.batching import Batcher
from service.records import RequestRecord, Stage, lost
from service.tickets import Ticket
from service.turns import end_turn


@dataclass(frozen=True)
class Caller:
    """Who waits for an answer: until when, by the monotonic clock, and whether somebody still does."""

    deadline: float
    gone: Any = None  # `service.front.wsgi.ClientGone`; None where there is no connection
    record: RequestRecord = field(default_factory=RequestRecord)

    def check(self) -> None:
        """Go on only for somebody.

        Raises:
            CancelledError: the client has left.
            DeadlineError: it is too late.
        """
        if self.gone:
            raise CancelledError("the client has left.")
        if time.monotonic() > self.deadline:
            raise too_late()

    def rows(self, batcher: Batcher, items: Sequence[Any], key: Hashable) -> list[Any]:
        """Wait until a batcher has run all items: a row, or the error in place of one, for each.

        Raises:
            OverloadedError: as `queue`.
            DeadlineError, CancelledError: as `result`.
        """
        ticket = self.ticket(items, key)
        if not batcher.run_here([ticket]):
            self.queue(batcher, ticket)
        return self.result(ticket)

    def ticket(self, items: Sequence[Any], key: Hashable) -> Ticket:
        """A place for items in the queue of a batcher, which is not taken yet."""
        return Ticket(items, key, self.deadline, owner=self.record)

    def queue(self, batcher: Batcher, ticket: Ticket) -> None:
        """Let a ticket wait in the queue of its batcher.

        Raises:
            OverloadedError: too many items wait already.
        """
        try:
            batcher.queue(ticket)
        except GraftError as exc:
            self.record.outcomes[lost(exc)] += len(ticket.items)
            raise

    def result(self, ticket: Ticket) -> list[Any]:
        """Wait for the rows of a ticket: a row, or the error in place of one, for each of its items.

        Raises:
            DeadlineError: no answer in the caller's time.
            CancelledError: the caller has left.
        """
        record, count = self.record, len(ticket.items)
        try:
            if not ticket.done:
                end_turn()
            if self.gone is not None:
                self.gone.then(ticket.cancel)
            rows = ticket.result()
        except GraftError as exc:
            record.outcomes[lost(exc)] += count
            raise
        finally:
            _note_stages(record, ticket, count)
        failed = sum(isinstance(row, Exception) for row in rows)
        if failed:
            record.outcomes["failed"] += failed
        record.outcomes["answered"] += count - failed
        record.answered_at = time.monotonic()
        return rows


def _note_stages(record: RequestRecord, ticket: Ticket, images: int) -> None:
    """Waiting ends when the first of a caller's images is run; what was given up has waited until now.

    Images that were run as soon as they were decoded have waited before that, for their turn.
    """
    now, began = ticket.ended_at or time.monotonic(), ticket.began_at
    if ticket.at_once and record.stages:
        record.stages.insert(0, Stage("queue", record.began, record.stages[0].began, images))
    else:
        record.stages.append(Stage("queue", ticket.queued_at, now if began is None else began, images))
    if began is not None:
        record.stages.append(Stage("infer", began, now, images, ticket.largest_batch))


def too_late() -> DeadlineError:
    """The time of a request is over before its images are decoded."""
    return DeadlineError(
        "the images were not decoded in the time that the request had. Send fewer at a time."
    )
