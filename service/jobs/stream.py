"""How a job goes as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from finetune.job.event_log import read_events
from models.errors import OverloadedError
from service.jobs.answers import Progress
from service.jobs.database import Row
from service.jobs.jobs import ENDED, Jobs
from service.jobs.progress import progress_after

MOST = 64  # streams at once
_HEARTBEAT_S = 10.0
_RETRY_MS = 2000
_SENT = (
    "stage",
    "progress",
    "epoch",
    "log",
)  # events of a run that are sent; a stage that begins is progress


class Streams:
    """The streams of a service; `describe` gives a job as JSON."""

    def __init__(self, jobs: Jobs, stopping: Callable[[], bool]) -> None:
        self._jobs, self._stopping = jobs, stopping
        self.describe: Callable[[Row], Mapping[str, Any]] = dict
        self._open, self._counting = 0, threading.Lock()

    def open(self, job: str, last: str, gone: Callable[[], bool]) -> Iterator[bytes]:
        """The events behind the one with the id `last`, until the job ends or the client has `gone`.

        An empty chunk says that there is nothing new: whoever sends may wait a moment before asking again.

        Raises:
            OverloadedError: as many streams are open as may be.
        """
        with self._counting:
            if self._open >= MOST:
                raise OverloadedError(
                    f"{MOST} streams are open, as many as may be. Ask /v1/jobs/ID in between.", 5.0
                )
            self._open += 1
        return _Counted(
            self._events(job, int(last) if last.isdecimal() and len(last) < 10 else 0, gone), self._closed
        )

    def _closed(self) -> None:
        with self._counting:
            self._open -= 1

    def _events(self, job: str, last: int, gone: Callable[[], bool]) -> Iterator[bytes]:
        yield f"retry: {_RETRY_MS}\n\n".encode()
        file, offset, number = self._jobs.events(job), 0, 0
        state, told = None, time.monotonic()
        progress: Progress | None = None
        while not (gone() or self._stopping()):
            row = self._jobs.find(job)
            ended = row is None or row["state"] in ENDED  # before reading: what is written until then is read
            chunks = []
            if row is not None and row["state"] != state:
                state = row["state"]
                chunks.append(_event("state", self.describe(row)))
            events, offset = read_events(file, offset)
            for event in events:
                number += 1
                progress = progress_after(progress, event)
                if number > last and event["event"] in _SENT:
                    chunks.append(_told(event, progress, number))
            if ended:
                chunks.append(_event("end", {"state": state or "deleted"}))
            elif not chunks and time.monotonic() - told > _HEARTBEAT_S:
                chunks.append(b": still there\n\n")
            if chunks:
                told = time.monotonic()
            yield b"".join(chunks)
            if ended:
                return


class _Counted:
    """An iterator that says once that nobody asks it any more."""

    def __init__(self, chunks: Iterator[bytes], closed: Callable[[], None]) -> None:
        self._chunks, self._closed = chunks, closed
        self._ended = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """Nobody asks for more."""
        if not self._ended:
            self._ended = True
            self._closed()


def _told(event: dict[str, Any], progress: Progress | None, number: int) -> bytes:
    if event["event"] in ("stage", "progress"):
        return _event("progress", {**(progress or {}), "at": event["at"]}, number)
    return _event(event["event"], {name: value for name, value in event.items() if name != "event"}, number)


def _event(kind: str, facts: Mapping[str, Any], number: int | None = None) -> bytes:
    # JSON in ASCII has no line breaks.
    known = f"id: {number}\n" if number is not None else ""
    return f"{known}event: {kind}\ndata: {json.dumps(facts)}\n\n".encode()
