"""Turns at the cores of this machine: more threads at work than there are cores only get in the way of one another.

A thread has at most one turn. It lets others have it (`end_turn`) before it waits, or does what takes long.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

Job = Callable[[], None]
_thread = threading.local()  # `turns`: whose turn it has; `job`: whether that began with its job


class _Waiting(NamedTuple):
    """A job without a thread, and how to give it one."""

    job: Job
    start: Callable[[Job], None]


class Turns:
    """So many may work at once; the others wait, in the order of their coming."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: deque[threading.Lock | _Waiting] = deque()  # threads, and jobs that have none yet
        self._changing = threading.Lock()

    @property
    def all_taken(self) -> bool:
        """Whether somebody who came now would have to wait."""
        return self._free == 0

    def take(self, deadline: float) -> bool:
        """Wait until this thread has a turn, or the monotonic clock shows `deadline`; returns whether it has one."""
        if getattr(_thread, "turns", None) is self:
            return True
        end_turn()  # that of others
        with self._changing:
            mine = None
            if self._free:
                self._free -= 1
            else:
                mine = threading.Lock()
                mine.acquire()
                self._waiting.append(mine)
        if mine is not None and not self._handed_over(mine, deadline):
            return False
        _thread.turns = self
        return True

    def begin(self, job: Job, start: Callable[[Job], None]) -> None:
        """Let `start` find a thread for a job when there is a turn for it; or the thread whose job is done goes on."""
        with self._changing:
            if not self._free:
                self._waiting.append(_Waiting(job, start))
                return
            self._free -= 1
        start(job)

    def work(self, job: Job) -> None:
        """Do a job that was begun here, in its turn, and those that are waiting when it is done."""
        following: Job | None = job
        while following is not None:
            _thread.turns, _thread.job = self, True
            following()
            following, _thread.job = None, False  # with what it holds
            if _thread.turns is self:
                _thread.turns = None
                following = self._following()

    def end_unless_awaited(self) -> None:
        """End this thread's turn where nobody waits for one; else `work` goes on with who does."""
        with self._changing:
            if getattr(_thread, "turns", None) is self and not self._waiting:
                _thread.turns = None
                self._free += 1

    def pass_on(self) -> None:
        """Let who has waited longest have a turn that is over."""
        with self._changing:
            if not self._waiting:
                self._free += 1
                return
            first = self._waiting.popleft()
        if isinstance(first, _Waiting):
            first.start(first.job)
        else:
            first.release()

    def _following(self) -> Job | None:
        """The job that has the turn of one that is done, where it is a job's."""
        with self._changing:
            if self._waiting and isinstance(self._waiting[0], _Waiting):
                return self._waiting.popleft().job  # type: ignore[union-attr]
        self.pass_on()
        return None

    def _handed_over(self, mine: threading.Lock, deadline: float) -> bool:
        if mine.acquire(timeout=min(threading.TIMEOUT_MAX, max(0.0, deadline - time.monotonic()))):
            return True
        with self._changing:
            if mine in self._waiting:
                self._waiting.remove(mine)
                return False
        return True  # in this very moment


def end_turn(*, of_job: bool = True) -> None:
    """Let others have the turn of this thread, where it has one; `of_job`: also where its job is worked on in it."""
    turns: Turns | None = getattr(_thread, "turns", None)
    if turns is not None and (of_job or not getattr(_thread, "job", False)):
        _thread.turns = None
        turns.pass_on()
