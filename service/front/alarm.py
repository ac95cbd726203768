"""A time limit for what a coroutine awaits again and again."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Alarm:
    """`asyncio.timeout` for one task, over and over: a block that ends in time costs no timer of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None  # None outside of a block
        self._task: asyncio.Task[object] | None = None
        self._rang = False

    def within(self, seconds: float) -> Alarm:
        """From now on the block has so many seconds; at its end, raise TimeoutError.

        For a `with` statement, and inside of its block to begin anew.
        """
        self._due = self._loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(self._due, self._ring)
        return self

    def rest(self) -> None:
        """Do not ring until the block begins anew."""
        self._due = None

    def close(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __enter__(self) -> Alarm:
        self._task, self._rang = asyncio.current_task(), False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task, self._due = self._task, None, None
        # As asyncio.timeout: somebody else may have cancelled the task, too.
        if self._rang and task is not None and task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError from exc

    def _ring(self) -> None:
        self._timer = None
        if self._due is None or self._task is None:
            return
        if self._due > self._loop.time():  # the block is another one, or has begun anew
            self._timer = self._loop.call_at(self._due, self._ring)
        else:
            self._rang = True
            self._task.cancel()
