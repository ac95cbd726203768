"""What clients may take: connections, bytes and seconds, each for one of them and for all together."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

_SMALL = 1 << 20  # bytes of a body for which the last eighth of the budget is kept


@dataclass(frozen=True)
class Limits:
    """The bounds of a front. Times are in seconds, sizes in bytes."""

    # Beyond this the one that has waited longest without a request is closed for a new one.
    connections: int = 1000
    header_bytes: int = 32 << 10
    header_fields: int = 100
    # From the first byte of a request to the end of its header; and from one request to the next.
    header_s: float = 10.0
    idle_s: float = 60.0
    body_bytes: int = 64 << 20
    # A body may stand still for `body_s` in all; at `body_rate` bytes a second and more that time comes back.
    body_s: float = 10.0
    body_rate: int = 32 << 10
    # Bodies of all requests together.
    held_bytes: int = 256 << 20
    # A client that does not read its answer.
    send_s: float = 30.0
    # Requests that are worked on at once. The others are told when to come again.
    workers: int = 64
    # Quick requests (lists, metrics, pages), which are answered while all workers are busy.
    helpers: int = 4
    # From the request to stop: still answering, so that a load balancer hears of it; then for what is unfinished.
    drain_s: float = 5.0
    stop_s: float = 20.0


class ByteBudget:
    """Counts the bytes of unfinished and unanswered bodies over all connections. For one thread."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.held = 0
        self.peak = 0

    def take(self, count: int, before: int) -> bool:
        """Whether `count` more bytes may be held for a body of which `before` are; they are from now on.

        Large bodies do not get the last eighth, so that they cannot keep small ones out.
        """
        kept = self.size // 8 if before + count > _SMALL else 0
        if self.held + count > self.size - kept:
            return False
        self.held += count
        self.peak = max(self.peak, self.held)
        return True

    def give_back(self, count: int) -> None:
        """`count` bytes are held no longer."""
        self.held -= count


class Pace:
    """How long a body may still take: some seconds, which what was received prolongs, but never to more of them."""

    def __init__(self, seconds: float, rate: int) -> None:
        self._seconds, self._rate = seconds, rate
        self._end = time.monotonic() + seconds
        self.received = 0

    def add(self, count: int) -> None:
        """`count` bytes have come."""
        self.received += count
        self._end = min(time.monotonic() + self._seconds, self._end + count / self._rate)

    def seconds_left(self) -> float:
        """Until the body counts as too slow."""
        return max(0.0, self._end - time.monotonic())


def whole_seconds(seconds: float) -> str:
    """As the header Retry-After takes it: whole seconds, at least one."""
    return str(max(1, math.ceil(seconds)))
