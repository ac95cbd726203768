"""What a service writes about itself: a line for each request and for what happens to it, as text or as JSON.

Lines are made and written by a thread of their own: a reader that stands still must not hold up requests.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator
from typing import IO, Any, Literal, Protocol

from models.wording import counted

LogFormat = Literal["text", "json"]
# What a line may tell beside its message, by the name that it is given with (`extra=`). Nothing else is written.
FIELDS = (
    "event", "method", "path", "status", "client", "bytes", "seconds", "request_id", "route", "model", "version",
    "images", "error", "reason", "trace_id", "url",
)  # fmt: skip
_IN_MESSAGE = ("event", "method", "path", "status")  # the text has them already
_WAITING = 10_000  # lines that nobody has written yet
_TOGETHER_S = 0.02  # until the lines after one are written
_LAST_S = 5.0  # that the rest may take at the end


class Say(Protocol):
    """Who hears what happens to a service: a sentence, and facts of it by names of `FIELDS`."""

    def __call__(self, text: str, **facts: object) -> None:
        """Write or show it."""


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, what is known of `FIELDS`, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """A line, in ASCII: whatever stands in a name, it is one."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_text:
            line["exception"] = record.exc_text
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """Time, level, message, and what else is known as name=value; what follows a line break stands indented."""

    def format(self, record: logging.LogRecord) -> str:
        """A line; lines of a traceback stand indented below it."""
        known = [
            f"{name}={_word(value)}" for name, value in _fields(record).items() if name not in _IN_MESSAGE
        ]
        line = " ".join([_time(record), record.levelname, printable(record.getMessage()), *known])
        below = (record.exc_text or "").splitlines()
        return "\n".join([line, *(f"    {printable(text)}" for text in below)])


FORMATTERS: dict[LogFormat, type[logging.Formatter]] = {"text": TextLines, "json": JsonLines}


def printable(text: str) -> str:
    """A text in one line: what is no sign of a script (line breaks, escapes, turns of direction) is written as \\x.."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


class LineWriter(logging.Handler):
    """Writes lines by a thread. When too many wait, further ones are dropped and counted, which a line says.

    So does one where a disk was full: the log goes on when it has room again.
    """

    def __init__(self, stream: IO[str], form: LogFormat, most_waiting: int = _WAITING) -> None:
        super().__init__()
        self.setFormatter(FORMATTERS[form]())
        self._own = _same_place(stream)
        self._stream = self._own or stream
        self._lines: queue.Queue[logging.LogRecord | None] = queue.Queue(most_waiting)
        self._dropped = 0
        self._unflushed = self._missing = 0  # lines that wait in the stream; that a failure may have cost
        self._asked_to_end = threading.Event()
        self._thread = threading.Thread(target=self._write, name="graft-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Leave a line to the thread. Its frames stay here: they may hold images."""
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    @property
    def drained(self) -> bool:
        """Whether all is written and no more will be."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """Write what waits, for some seconds at most. Python's logging calls it once more at the end of the process."""
        if not self._asked_to_end.is_set():
            self._asked_to_end.set()
            with contextlib.suppress(queue.Full):
                self._lines.put(None, timeout=_LAST_S)
                self._thread.join(_LAST_S)
        super().close()

    def _write(self) -> None:
        # Nobody reads any more where the pipe is broken or the file closed.
        with contextlib.suppress(BrokenPipeError, ValueError):
            while (record := self._lines.get()) is not None:
                self._put(record)
                if self._lines.empty():
                    self._flush()
                    # Under load many lines are then written together, and the thread is woken once for them.
                    self._asked_to_end.wait(_TOGETHER_S)
            self._flush()
        if self._own is not None:
            with contextlib.suppress(OSError):
                self._own.close()

    def _put(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # a message that does not fit its arguments; the others go on
            self.handleError(record)
            return
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._unflushed += 1
        with self._going_on():
            self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")

    def _flush(self) -> None:
        """Write what the stream holds, and what is missing before it."""
        count, self._dropped = self._dropped, 0
        if count:
            text = f"{count:,} lines of this log were dropped: they are read more slowly than they come"
            self._put(_warning(text))
        with self._going_on():
            self._stream.flush()
            self._unflushed = 0
            if self._missing:
                text = f"up to {counted(self._missing, 'line')} of this log could not be written"
                self._stream.write(self.format(_warning(text)) + "\n")
                self._stream.flush()
                self._missing = 0

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        """Outlive a failure to write, such as that of a full disk, which may take a while to pass."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError:
            self._missing += self._unflushed
            self._unflushed = 0


@contextlib.contextmanager
def log_lines(stream: IO[str], form: LogFormat) -> Iterator[LineWriter]:
    """Write the log of this process to a stream: all of Graft's, warnings and errors of others."""
    root, ours = logging.getLogger(), logging.getLogger("graft")
    level, writer = ours.level, LineWriter(stream, form)
    root.addHandler(writer)
    ours.setLevel(logging.INFO)
    try:
        yield writer
    finally:
        root.removeHandler(writer)
        ours.setLevel(level)
        writer.close()


def _same_place(stream: IO[str]) -> IO[str] | None:
    """A stream of our own to the same file; None where there is none.

    Who waits in a write holds the stream's lock: Python, which flushes standard output at its end, would wait too.
    """
    try:
        number = os.dup(stream.fileno())
    except (OSError, ValueError):  # one in memory, or closed
        return None
    encoding = getattr(stream, "encoding", None)
    return os.fdopen(number, "w", encoding=encoding, errors="backslashreplace")


def _warning(text: str) -> logging.LogRecord:
    return logging.LogRecord("graft", logging.WARNING, __file__, 0, text, None, None)


def _time(record: logging.LogRecord) -> str:
    """When it happened, UTC, as RFC 3339 has it."""
    return f"{_second(int(record.created))}.{int(record.msecs):03}Z"


@functools.lru_cache(maxsize=2)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    known = vars(record)
    values = {name: known[name] for name in FIELDS if name in known}
    if "seconds" in values:
        values["seconds"] = round(values["seconds"], 6)
    return values


def _word(value: object) -> str:
    if type(value) in (int, float):
        return str(value)
    text = str(value)
    return text if text and text.isprintable() and not set(text) & {" ", '"', "="} else json.dumps(text)
