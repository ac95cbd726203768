"""What clients may take: connections, bytes and seconds, each for one of them and for all together."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The bounds of a front. Times are in seconds, sizes in bytes."""

    # Beyond this the one that has waited longest without a request is closed for a new one.
    connections: int = 1000
    header_bytes: int = 32 << 10
    # From the first byte of a request to the end of its header; and from one request to the next.
    header_s: float = 10.0
    idle_s: float = 60.0
    body_bytes: int = 64 << 20
    # A body may take `body_s`, and longer as long as it comes at `body_rate` bytes a second on average.
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

    def take(self, count: int) -> bool:
        """Whether `count` more bytes may be held; they are from now on."""
        if self.held + count > self.size:
            return False
        self.held += count
        self.peak = max(self.peak, self.held)
        return True

    def give_back(self, count: int) -> None:
        """`count` bytes are held no longer."""
        self.held -= count


def whole_seconds(seconds: float) -> str:
    """As the header Retry-After takes it: whole seconds, at least one."""
    return str(max(1, math.ceil(seconds)))
