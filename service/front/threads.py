"""Threads that do not keep the process alive: a stop is bounded in time even where one of them never ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from service.turns import Turns

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
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def job() -> None:
            if future.cancelled():
                return
            result, error = None, None
            try:
                result = call()
            except BaseException as exc:
                error = exc
            if self._turns is not None:
                # Before the answer goes: a client alone would meet its last turn with its next request, and count as
                # two.
                self._turns.end_unless_awaited()
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(_deliver, future, result, error)
            del result, error  # in a circle with this frame

        self._begin(job)
        return await future

    def shutdown(self) -> None:
        """Let the threads end when they have nothing to do. Waits for none."""
        with self._changing:
            for _ in range(self._count):
                self._jobs.put(None)

    def _begin(self, job: Callable[[], None]) -> None:
        if self._turns is None:
            self._put(job)
        else:
            self._turns.begin(job, self._put)

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


def _deliver(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():  # nobody waits
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):  # which no future takes
        future.set_exception(RuntimeError("a thread's work ended with StopIteration"))
    else:
        future.set_exception(error)
