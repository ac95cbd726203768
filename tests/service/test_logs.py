"""Lines of the log: what they hold, that nobody can forge one, and that nobody waits for who reads them."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service import logs
from service.logs import FIELDS, LineWriter, LogFormat, log_lines, printable

WAIT_S = 120.0  # never waited for in full
FORGED = "a\r\n2026-01-01T00:00:00.000Z INFO forged\x1b[2K\u2028\u202e\x85"


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger below Graft's, as each module has one."""
    log = logging.getLogger("graft.test")
    yield log
    log.setLevel(logging.NOTSET)


def lines(form: LogFormat, log: logging.Logger, *calls: tuple[Any, ...], **extra: object) -> list[str]:
    stream = io.StringIO()
    with log_lines(stream, form):
        for message, *arguments in calls:
            log.info(message, *arguments, extra=extra)
    return stream.getvalue().splitlines()


def test_json_has_what_is_known_by_name(log: logging.Logger) -> None:
    asked = {"method": "POST", "path": "/v1/classify", "status": 200, "seconds": 0.12345678, "model": "tiny"}
    (line,) = lines("json", log, ("%s %d", "POST", 200), **asked)
    told = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told.pop("time"))
    assert told == {
        "level": "info",
        "logger": "graft.test",
        "message": "POST 200",
        **asked,
        "seconds": 0.123457,
    }


def test_text_has_the_same_in_one_line(log: logging.Logger) -> None:
    (line,) = lines("text", log, ("GET %s 200", "/"), client="::1", status=200, model='a "b" c', images=2)
    time, rest = line.split(" ", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
    assert rest == r'INFO GET / 200 client=::1 model="a \"b\" c" images=2'


def test_what_has_no_name_in_the_table_is_not_written(log: logging.Logger) -> None:
    for form in ("text", "json"):
        (line,) = lines(form, log, ("hello",), token="secret", authorization="secret")
        assert "secret" not in line


def test_names_cannot_forge_lines(log: logging.Logger) -> None:
    for form in ("text", "json"):
        (line,) = lines(form, log, ("served %s", FORGED), model=FORGED, reason=FORGED)
        assert line.isprintable()
        assert r"\r\n2026" in line
    assert printable("Größe 猫") == "Größe 猫"
    assert printable("\ud800") == r"\ud800"


def test_tracebacks_stay_with_their_line(log: logging.Logger) -> None:
    def fail(form: LogFormat) -> list[str]:
        stream = io.StringIO()
        with log_lines(stream, form):
            try:
                raise ValueError(FORGED)
            except ValueError:
                log.exception("failed", extra={"request_id": "my-id"})
        return stream.getvalue().splitlines()

    (line,) = fail("json")
    told = json.loads(line)
    assert (told["level"], told["request_id"]) == ("error", "my-id")
    assert told["exception"].startswith("Traceback (most recent call last):\n")
    first, *below = fail("text")
    assert first.endswith("ERROR failed request_id=my-id")
    assert below[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in below)


def test_a_line_holds_no_frames(log: logging.Logger) -> None:
    """They would keep images alive for as long as the line waits to be written."""
    stream = Slow()
    with log_lines(stream, "text"):
        try:
            raise ValueError
        except ValueError as exc:
            record = log.makeRecord(
                "graft", logging.ERROR, "", 0, "failed", (), (ValueError, exc, exc.__traceback__)
            )
            log.handle(record)
        assert record.exc_info is None
        stream.go.set()


def test_others_tell_only_what_is_wrong(log: logging.Logger) -> None:
    stream = io.StringIO()
    with log_lines(stream, "json"):
        logging.getLogger("somebody.else").info("chatter")
        logging.getLogger("somebody.else").warning("careful")
        log.debug("detail")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["careful"]
    assert not logging.getLogger("graft").level


class Slow(io.StringIO):
    """A stream whose reader stands still until the test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.entered.set()
        assert self.go.wait(WAIT_S)
        return super().write(text)


def test_who_logs_does_not_wait_and_what_was_dropped_is_said(log: logging.Logger) -> None:
    stream = Slow()
    writer = LineWriter(stream, "json", most_waiting=2)
    writer.emit(log.makeRecord("graft", logging.INFO, "", 0, "first", (), None))
    assert stream.entered.wait(WAIT_S)
    for number in range(5):
        writer.emit(log.makeRecord("graft", logging.INFO, "", 0, f"line {number}", (), None))
    stream.go.set()
    writer.close()
    messages = [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert messages[:3] == ["first", "line 0", "line 1"]
    assert messages[3:] == ["3 lines of this log were dropped: they are read more slowly than they come"]


@pytest.mark.skipif(os.name == "nt", reason="pipes of Windows have no fixed size")
def test_a_reader_that_stands_still_holds_up_neither_the_end_nor_other_writers(
    log: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_LAST_S", 0.01)
    reading, writing = os.pipe()
    with open(reading, "rb") as reader, open(writing, "w", encoding="utf-8") as stream:
        with log_lines(stream, "text") as lines:
            for _ in range(100):
                log.info("x" * 10_000)  # more than a pipe holds
        assert not lines.drained
        stream.flush()  # the lock of this one is free
        for _ in range(100):
            assert reader.readline().endswith(b"x\n")
        lines._thread.join(WAIT_S)
        assert lines.drained


def test_a_message_that_does_not_fit_stops_no_other(
    log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    writer = LineWriter(stream, "text")
    writer.emit(log.makeRecord("graft", logging.INFO, "", 0, "%d", ("no number",), None))
    writer.emit(log.makeRecord("graft", logging.INFO, "", 0, "next", (), None))
    writer.close()
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("INFO next")
    assert "TypeError" in capsys.readouterr().err


def test_signs_that_the_stream_has_not_are_escaped(log: logging.Logger) -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii", write_through=True)
    with log_lines(stream, "text"):
        log.info("猫")
        log.info("next")
    first, second = buffer.getvalue().decode("ascii").splitlines()
    assert first.endswith(r"INFO \u732b")
    assert second.endswith("INFO next")


def test_a_closed_stream_ends_the_writing_and_nothing_else(log: logging.Logger) -> None:
    stream = io.StringIO()
    stream.close()
    with log_lines(stream, "text"):
        log.info("into the void")


class Full(io.StringIO):
    """A file on a disk that is full until the test makes room."""

    def __init__(self) -> None:
        super().__init__()
        self.full, self.refused = True, threading.Event()

    def write(self, text: str) -> int:
        if self.full:
            self.refused.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_a_full_disk_costs_the_lines_until_there_is_room_again(log: logging.Logger) -> None:
    stream = Full()
    with log_lines(stream, "json"):
        log.info("lost")
        assert stream.refused.wait(WAIT_S)
        stream.full = False
        log.info("next")
    messages = [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert sorted(messages) == ["next", "up to 1 line of this log could not be written"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_disk_that_stays_full_stops_nothing(log: logging.Logger) -> None:
    with open("/dev/full", "w", encoding="utf-8") as stream, log_lines(stream, "text") as lines:
        for _ in range(20):
            log.info("x" * 1000)
    assert lines.drained


def test_the_page_about_the_log_has_all_fields() -> None:
    page = (Path(__file__).parents[2] / "docs" / "observing.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?`) \|", page.partition("| field |")[2].partition("\n\n")[0], re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {"time", "level", "logger", "message", "exception", *FIELDS}
