"""What clients may take: connections, bytes and seconds, each for one of them and for all together."""

from __future__ import annotations

import math
import time

from models.settings import setting, settings

_SMALL = 1 << 20  # bytes of a body for which the last eighth of the budget is kept


@settings
class Limits:
    """The bounds of a front. Times are in seconds, sizes in bytes."""

    connections: int = setting(
        1000,
        "Beyond this the one that has waited longest without a request is closed for a new one.",
        least=1,
    )
    header_bytes: int = setting(32 << 10, "Longest header.", least=1)
    header_fields: int = setting(100, "Lines of a header.", least=1)
    header_s: float = setting(10.0, "From the first byte of a request to the end of its header.", above=0)
    idle_s: float = setting(60.0, "From one request to the next.", above=0)
    body_bytes: int = setting(64 << 20, "Longest body.", least=1)
    body_s: float = setting(10.0, "How long a body may stand still in all.", above=0)
    body_rate: int = setting(32 << 10, "At so many bytes a second and more that time comes back.", least=1)
    held_bytes: int = setting(256 << 20, "Bodies of all requests together.", least=1)
    send_s: float = setting(30.0, "How long a client may not read its answer.", above=0)
    workers: int = setting(
        64, "Requests that are worked on at once; the others are told when to come again.", least=1
    )
    helpers: int = setting(
        4, "Quick requests (lists, metrics, pages), answered while all workers are busy.", least=1
    )
    drain_s: float = setting(
        5.0, "From the request to stop: still answering, so that a load balancer hears of it.", least=0
    )
    stop_s: float = setting(20.0, "Then for what is unfinished.", least=0)

    @property
    def longest_held(self) -> int:
        """Bytes of the longest body for which there is room where no other is held."""
        return max(self.held_bytes - self.held_bytes // 8, min(self.held_bytes, _SMALL))


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
