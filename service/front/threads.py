"""Threads that do not keep the process alive: a stop is bounded in time even where one of them never ends."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from service.steps import Steps, finish_together
from service.turns import Job, Join, Turns

_SMALL = 1 << 20  # bytes of a request that is worked on side by side with others
Result = TypeVar("Result")


# Hears what a piece of work gave, or the exception that it raised.
_Done = Callable[[Any], None]


@dataclass(frozen=True, eq=False)
class _Work:
    """Steps to be taken by a thread; `done` is called in the loop."""

    steps: Steps[Any]
    done: _Done
    unwanted: Callable[[], bool]
    loop: asyncio.AbstractEventLoop


class DaemonThreads:
    """At most so many threads, each made when it is first needed; Python waits for none of them at its end."""

    def __init__(self, most: int, name: str, turns: Turns | None = None) -> None:
        """`turns`: each job has one of them when it begins, and until it ends or lets others have it."""
        self._most, self._name, self._turns = most, name, turns
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._changing = threading.Lock()
        self._idle = self._count = 0

    def submit(self, call: Callable[[], Any]) -> None:
        """Have a function called some time; what it raises is logged."""

        def job() -> None:
            try:
                call()
            except Exception:
                logging.getLogger("graft").exception("a thread's work failed")

        self._begin(job)

    async def run(self, call: Callable[[], Result]) -> Result:
        """What a function gives or raises, called by a thread; not at all where nobody waits by then."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def job() -> None:
            if future.cancelled():
                return
            outcome: Any = None
            try:
                outcome = call()
            except BaseException as exc:
                outcome = exc
            self._deliver(loop, [(functools.partial(_set, future), outcome)])
            del outcome  # in a circle with this frame

        self._begin(job)
        return await future

    def future_of(self, steps: Steps[Result], size: int) -> asyncio.Future[Result]:
        """What some steps will give or raise; they are not taken where nobody waits by then. As `begin_steps`."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.begin_steps(steps, size, functools.partial(_set, future), future.cancelled)
        return future

    def begin_steps(
        self,
        steps: Steps[Result],
        size: int,
        done: Callable[[Result | Exception], None],
        unwanted: Callable[[], bool] = lambda: False,
    ) -> None:
        """Have a thread take some steps; `done` hears in the loop what they gave or raised.

        They are not taken where they are `unwanted` by then. A thread takes the steps of several side by side where
        they wait for it and are small; `size`: of what they work on, in bytes.
        """
        work = _Work(steps, done, unwanted, asyncio.get_running_loop())
        self._begin(functools.partial(self._take, [work]), self._joined if size <= _SMALL else None)

    def _take(self, works: Sequence[_Work]) -> None:
        works = [work for work in works if not work.unwanted()]
        # What it takes of a core: where others keep it waiting, smaller groups would only cost more, and wait longer.
        began = time.thread_time()
        outcomes = finish_together([work.steps for work in works])
        if not works:
            return
        if self._turns is not None:
            self._turns.took(time.thread_time() - began, len(works))
        self._deliver(
            works[0].loop, [(work.done, outcome) for work, outcome in zip(works, outcomes, strict=True)]
        )

    def _joined(self, jobs: Sequence[Job]) -> Job:
        """One job of several that take steps."""
        return functools.partial(self._take, [work for job in jobs for work in job.args[0]])  # type: ignore[attr-defined]

    def _deliver(self, loop: asyncio.AbstractEventLoop, outcomes: Sequence[tuple[_Done, Any]]) -> None:
        if self._turns is not None:
            # Before the answer goes: a client alone would meet its last turn with its next request, and count as two.
            self._turns.end_unless_awaited()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(_tell, outcomes)

    def shutdown(self) -> None:
        """Let the threads end when they have nothing to do. Waits for none."""
        with self._changing:
            for _ in range(self._count):
                self._jobs.put(None)

    def _begin(self, job: Job, join: Join | None = None) -> None:
        if self._turns is None:
            self._put(job)
        else:
            self._turns.begin(job, self._put, join)

    def _put(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)
        with self._changing:
            if self._idle:
                self._idle -= 1
                return
            if self._count == self._most:
                return
            self._count += 1
            name = f"{self._name}-{self._count}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._turns is None:
                job()
            else:
                self._turns.work(job)
            del job  # an idle thread would hold a request's body
            with self._changing:
                self._idle += 1


def _tell(outcomes: Sequence[tuple[_Done, Any]]) -> None:
    for done, outcome in outcomes:
        try:
            done(outcome)
        except Exception:  # the others are told, too
            logging.getLogger("graft").exception("an answer was not delivered")


def _set(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():  # nobody waits
        return
    if not isinstance(outcome, BaseException):
        future.set_result(outcome)
    elif isinstance(outcome, StopIteration):  # which no future takes
        future.set_exception(RuntimeError("a thread's work ended with StopIteration"))
    else:
        future.set_exception(outcome)
