"""Who waits for an answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from models.errors import CancelledError, DeadlineError
from service.records import RequestRecord


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


def too_late() -> DeadlineError:
    """The time of a request is over before its images are decoded."""
    return DeadlineError(
        "the images were not decoded in the time that the request had. Send fewer at a time."
    )
