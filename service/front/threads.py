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
from typing import Any, TypeVar

from service.steps import Steps, finish_together
from service.turns import Job, Join, Turns

_SMALL = 1 << 20  # bytes of a request that is worked on side by side with others
Result = TypeVar("Result")


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
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def job() -> None:
            if future.cancelled():
                return
            result, error = None, None
            try:
                result = call()
            except BaseException as exc:
                error = exc
            self._deliver([(future, result, error)])
            del result, error  # in a circle with this frame

        self._begin(job)
        return await future

    def begin_steps(self, steps: Steps[Result], size: int) -> asyncio.Future[Result]:
        """What some steps will give or raise, taken by a thread; not at all where the future was cancelled by then.

        It takes the steps of several side by side where they wait for it and are small; `size`: of what they work on,
        in bytes.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        job = functools.partial(self._take, [(steps, future)])
        self._begin(job, self._joined if size <= _SMALL else None)
        return future

    def _take(self, works: Sequence[tuple[Steps[Any], asyncio.Future[Any]]]) -> None:
        works = [(steps, future) for steps, future in works if not future.cancelled()]
        began = time.monotonic()
        outcomes = finish_together([steps for steps, _ in works])
        if works and self._turns is not None:
            self._turns.took(time.monotonic() - began, len(works))
        delivered = []
        for (_, future), outcome in zip(works, outcomes, strict=True):
            failed = isinstance(outcome, Exception)
            delivered.append((future, None if failed else outcome, outcome if failed else None))
        if delivered:
            self._deliver(delivered)

    def _joined(self, jobs: Sequence[Job]) -> Job:
        """One job of several that take steps."""
        return functools.partial(self._take, [work for job in jobs for work in job.args[0]])  # type: ignore[attr-defined]

    def _deliver(self, outcomes: Sequence[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
        if self._turns is not None:
            # Before the answer goes: a client alone would meet its last turn with its next request, and count as two.
            self._turns.end_unless_awaited()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            outcomes[0][0].get_loop().call_soon_threadsafe(_deliver_all, outcomes)

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


def _deliver_all(outcomes: Sequence[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    for outcome in outcomes:
        _deliver(*outcome)


def _deliver(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():  # nobody waits
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):  # which no future takes
        future.set_exception(RuntimeError("a thread's work ended with StopIteration"))
    else:
        future.set_exception(error)
