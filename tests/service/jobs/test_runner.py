"""Processes of jobs are watched: ended when they take too much, adopted when they outlive, taken for no others."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from feature_extraction.folder_lock import locked
from models.errors import FullError
from service.jobs import processes, runner
from service.jobs.process import BUSY, PROCESS, RESULT
from service.jobs.processes import alive, end, identity, memory
from service.jobs.runner import Runner
from service.jobs.teaching import Teaching
from tests.service.jobs.conftest import class_folders, zipped

PATIENCE_S = 120.0
SLEEPING = "import sys; print('here', flush=True); sys.stdin.read()"


@pytest.fixture
def sleeping() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own that waits to be ended."""
    command = [sys.executable, "-c", SLEEPING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_process_is_known_by_more_than_its_number(sleeping: subprocess.Popen[bytes]) -> None:
    known = identity(sleeping.pid)
    assert known is not None
    assert alive(known)
    assert memory(known) > 1 << 20
    earlier = " ".join([*known.split()[:-1], "1"])  # somebody who had this number before
    assert not alive(earlier)
    end(earlier, at_once=True)
    assert sleeping.poll() is None
    end(known)
    assert sleeping.wait(PATIENCE_S) == -signal.SIGTERM
    assert not alive(known)
    assert identity(sleeping.pid) is None
    assert not alive(None)


Start = Callable[[Path, int], subprocess.Popen[bytes]]


def starting(code: str) -> Start:
    """What starts a process that runs `code` in the folder of a job, in place of a real one."""

    def start(folder: Path, nice: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", code], cwd=folder, process_group=0)

    return start


@pytest.fixture
def job(teaching: Teaching) -> str:
    """A job that waits."""
    file = teaching.workspace.incoming / "a.zip"
    file.write_bytes(zipped(class_folders(2)))
    dataset = teaching.intake.archive(file, "colours")
    file.unlink()
    return teaching.jobs.create(dataset, "", {})


def done(teaching: Teaching, watching: Runner, job: str) -> dict[str, object]:
    """What has become of a job."""
    pause = threading.Event()
    watching.start()
    timer = threading.Timer(PATIENCE_S, pause.set)
    timer.start()
    try:
        while teaching.jobs.row(job)["state"] not in ("cancelled", "failed", "finished"):
            assert not pause.wait(0.02), "it did not end"
    finally:
        timer.cancel()
        watching.stop()
    return dict(teaching.jobs.row(job))


WAITING = "import threading; threading.Event().wait()"


@pytest.mark.parametrize(
    ("code", "memory_most", "seconds_most", "error"),
    [
        (f"x = b'x' * (300 << 20); {WAITING}", 200 << 20, 3600.0, "of memory; 209.7 MB are allowed"),
        (WAITING, 1 << 40, 0.5, "it took longer than"),
        ("open('fill', 'wb').write(bytes(30 << 20)); " + WAITING, 1 << 40, 3600.0, "holds more than the"),
        ("import os; os.kill(os.getpid(), 9)", 1 << 40, 3600.0, "ended from outside (signal 9)"),
        ("raise SystemExit(3)", 1 << 40, 3600.0, "its process ended without a result"),
        (
            """open('result.json', 'w').write('{"state": "failed", "error": "no good images."}')""",
            1 << 40, 3600.0, "no good images.",
        ),
    ],
    ids=["memory", "time", "disk", "killed", "silent", "failed"],
)  # fmt: skip
def test_a_job_that_takes_too_much_or_fails_says_why(
    teaching: Teaching,
    job: str,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    memory_most: int,
    seconds_most: float,
    error: str,
) -> None:
    monkeypatch.setattr(runner, "start", starting(code))
    teaching.workspace.limit = 20 << 20
    monkeypatch.setattr("service.jobs.workspace._KNOWN_S", 0.0)
    row = done(teaching, Runner(teaching.workspace, teaching.jobs, memory_most, seconds_most), job)
    assert row["state"] == "failed"
    assert error in str(row["error"])
    assert not (teaching.workspace.job(job) / "images").exists()


def test_a_job_that_has_a_result_keeps_it_where_that_could_not_be_written_down(
    teaching: Teaching, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = """open('result.json', 'w').write('{"state": "finished", "digest": "abc"}')"""
    monkeypatch.setattr(runner, "start", starting(finished))
    conclude, faults = teaching.jobs.conclude, [FullError("the disk is full.")]

    def once_full(*args: Any, **named: Any) -> None:
        if faults:
            raise faults.pop()
        conclude(*args, **named)

    monkeypatch.setattr(teaching.jobs, "conclude", once_full)
    row = done(teaching, Runner(teaching.workspace, teaching.jobs, 1 << 40, 3600.0), job)
    assert (row["state"], row["digest"], row["error"]) == ("finished", "abc", None)
    assert not faults


def test_a_job_without_room_for_its_model_is_not_begun(
    teaching: Teaching, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quick one would have written it before anybody looks."""
    monkeypatch.setattr(runner, "start", starting("raise SystemExit('it was begun')"))
    teaching.workspace.limit = 8 << 20  # the built-in network has 9 MB
    row = done(teaching, Runner(teaching.workspace, teaching.jobs, 1 << 40, 3600.0), job)
    assert row["state"] == "failed"
    assert re.search(r"^9\.0 MB do not fit: the workspace holds .* of the 8\.4 MB", str(row["error"]))


def test_a_running_job_is_cancelled(teaching: Teaching, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started = threading.Event()

    def start(folder: Path, nice: int) -> subprocess.Popen[bytes]:
        started.set()
        return starting(WAITING)(folder, nice)

    monkeypatch.setattr(runner, "start", start)
    watching = Runner(teaching.workspace, teaching.jobs, 1 << 40, 3600.0)

    def cancel() -> None:
        started.wait(PATIENCE_S)
        pause = threading.Event()
        while teaching.jobs.row(job)["state"] != "running":
            pause.wait(0.02)
        teaching.jobs.cancel(job)
        watching.wake()

    thread = threading.Thread(target=cancel)
    thread.start()
    row = done(teaching, watching, job)
    thread.join()
    assert (row["state"], row["error"]) == ("cancelled", None)


def test_a_process_that_outlived_its_service_is_watched(
    teaching: Teaching, job: str, sleeping: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(folder: Path, nice: int) -> subprocess.Popen[bytes]:
        raise AssertionError("another process was started")

    monkeypatch.setattr(runner, "start", never)
    folder = teaching.workspace.job(job)
    teaching.jobs.start(job)
    (folder / PROCESS).write_text(identity(sleeping.pid) or "")
    watching = Runner(teaching.workspace, teaching.jobs, 1 << 40, 3600.0)
    looked = threading.Event()
    monkeypatch.setattr(runner, "memory", lambda known: looked.set() or 0)

    def finish() -> None:
        assert looked.wait(PATIENCE_S)
        (folder / RESULT).write_text(json.dumps({"state": "finished", "digest": "abc"}))
        assert sleeping.stdin is not None
        sleeping.stdin.close()
        sleeping.wait(PATIENCE_S)

    thread = threading.Thread(target=finish)
    thread.start()
    row = done(teaching, watching, job)
    thread.join()
    assert (row["state"], row["digest"]) == ("finished", "abc")


def test_jobs_run_one_at_a_time_in_their_order(
    teaching: Teaching, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = teaching.jobs.row(job)["dataset"]
    jobs = [job, *(teaching.jobs.create(dataset, "", {}) for _ in range(2))]
    running: list[str] = []
    began: list[str] = []

    def start(folder: Path, nice: int) -> subprocess.Popen[bytes]:
        running[:] = [row["id"] for row in teaching.jobs.begun()]
        assert running == [folder.name]
        began.append(folder.name)
        return starting("")(folder, nice)

    monkeypatch.setattr(runner, "start", start)
    done(teaching, Runner(teaching.workspace, teaching.jobs, 1 << 40, 3600.0), jobs[-1])
    assert began == jobs


def test_a_second_process_leaves_the_job_to_the_first(teaching: Teaching, job: str) -> None:
    folder = teaching.workspace.job(job)
    with locked(folder):
        second = processes.start(folder, 0)
        assert second.wait(PATIENCE_S) == BUSY
    assert not (folder / RESULT).exists()
