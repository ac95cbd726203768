"""Turns at the cores of this machine: more threads at work than there are cores only get in the way of one another.

A thread has at most one turn. It lets others have it (`end_turn`) before it waits, or does what takes long.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

Job = Callable[[], None]
Join = Callable[[Sequence[Job]], Job]  # makes one job of several
_thread = threading.local()  # `turns`: whose turn it has; `job`: whether that began with its job
_TOGETHER = 8  # jobs that one turn is for, at most
_TOGETHER_S = 0.02  # that they may take of a core: the first of them is done no sooner than the last
_MEMORY = 0.8  # weight of the past in the moving average of a job's time


class _Waiting(NamedTuple):
    """A job without a thread, and how to give it one."""

    job: Job
    start: Callable[[Job], None]
    join: Join | None


class Turns:
    """So many may work at once; the others wait, in the order of their coming."""

    def __init__(self, most: int) -> None:
        self._free = self._most = most
        self._waiting: deque[threading.Lock | _Waiting] = deque()  # threads, and jobs that have none yet
        self._changing = threading.Lock()
        self._together = _TOGETHER  # jobs that one turn may be for
        self._job_s = 0.0  # seconds of a core for a job that may be joined, moving average

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

    def begin(self, job: Job, start: Callable[[Job], None], join: Join | None = None) -> None:
        """Let `start` find a thread for a job when there is a turn for it; or the thread whose job is done goes on.

        That may do several of one `join` as the job that this makes of them.
        """
        with self._changing:
            if not self._free:
                self._waiting.append(_Waiting(job, start, join))
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

    def took(self, seconds: float, jobs: int) -> None:
        """A turn took so many seconds of a core for so many jobs that can be joined; how many go together follows."""
        self._job_s += (1 - _MEMORY if self._job_s else 1.0) * (seconds / jobs - self._job_s)
        self._together = max(1, min(_TOGETHER, int(_TOGETHER_S / max(self._job_s, 1e-6))))

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
        """The job that has the turn of one that is done, where it is a job's.

        It is made of several that wait, where they can be joined; not of all: other turns will end as well.
        """
        jobs: list[Job] = []
        join: Join | None = None
        with self._changing:
            most = min(math.ceil(len(self._waiting) / self._most), self._together)
            while self._waiting and len(jobs) < max(1, most):
                first = self._waiting[0]
                if not isinstance(first, _Waiting) or (jobs and (join is None or first.join != join)):
                    break
                self._waiting.popleft()
                jobs.append(first.job)
                join = first.join
        if jobs:
            return jobs[0] if join is None or len(jobs) == 1 else join(jobs)
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
