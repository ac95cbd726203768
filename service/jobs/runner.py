"""Runs jobs one after the other, each in a process of its own, and watches it.

A process that an earlier service has started, and that goes on after it was killed, is watched like one of our own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import threading
import time
from pathlib import Path

from models.errors import FullError
from models.wording import size
from service.jobs.database import Row
from service.jobs.jobs import Jobs
from service.jobs.process import BUSY, PROCESS, RESULT
from service.jobs.processes import alive, end, identity, memory, start
from service.jobs.recipes import model_bytes, recipe_of
from service.jobs.workspace import Workspace

_LOOK_S = 0.2
_GRACE_S = 5.0  # from the request to end to the end by force
_log = logging.getLogger("graft")


class Runner:
    """A thread that does what waits. `wake` it when there is something new."""

    def __init__(
        self, workspace: Workspace, jobs: Jobs, memory_most: int, seconds_most: float, nice: int = 0
    ) -> None:
        self._workspace, self._jobs = workspace, jobs
        self._memory_most, self._seconds_most, self._nice = memory_most, seconds_most, nice
        self._woken, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="graft-jobs", daemon=True)
        self._process: str | None = None

    def start(self) -> None:
        """Begin with what an earlier service has not ended."""
        self._thread.start()

    def wake(self) -> None:
        """A job has come, or is to be cancelled."""
        self._woken.set()

    def stop(self) -> None:
        """End; the process of a job ends too, and goes on from its checkpoint when a service starts again."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            job = next(iter([*self._jobs.begun(), *self._jobs.waiting()]), None)
            if job is None:
                self._woken.wait()
                continue
            try:
                self._work(job)
            except Exception as exc:
                _log.exception("job %s could not be run", job["id"])
                with contextlib.suppress(Exception):  # the disk may be full; it is tried again
                    folder = self._workspace.job(job["id"])
                    self._conclude(str(job["id"]), folder, f"it could not be run ({exc}).")
                self._woken.wait(_GRACE_S)

    def _work(self, job: Row) -> None:
        """Start or adopt the process of a job, and watch it until it ends."""
        known, folder = str(job["id"]), self._workspace.job(job["id"])
        child: subprocess.Popen[bytes] | None = None
        process = _recorded(folder)
        if alive(process):
            _log.info("job %s goes on in process %s, which outlived an earlier service", known, process)
        elif (folder / RESULT).exists() or job["state"] == "cancelling":
            process = None
        elif lack := self._lack(job):
            self._jobs.conclude(known, "failed", lack)
            return
        elif self._jobs.start(known):
            child = start(folder, self._nice)
            process = identity(child.pid)
        else:
            return
        reason = self._watched(known, folder, process, child)
        if self._stopping.is_set() and not (folder / RESULT).exists():
            return
        code = child.wait() if child is not None else None
        if code == BUSY:  # one that was started in the moment in which an earlier service was killed
            return
        self._conclude(known, folder, reason or _why(code))

    def _watched(
        self, job: str, folder: Path, process: str | None, child: subprocess.Popen[bytes] | None
    ) -> str | None:
        """Wait until a process has ended. Returns why it was ended, where it was."""
        began, asked, reason = time.monotonic(), None, None
        while process is not None and (child.poll() is None if child is not None else alive(process)):
            self._woken.wait(_LOOK_S)
            self._woken.clear()
            now = time.monotonic()
            if asked is not None:
                if now - asked > _GRACE_S:
                    end(process, at_once=True)
                continue
            reason = self._excess(process, now - began)
            if reason or self._stopping.is_set() or self._jobs.row(job)["state"] == "cancelling":
                asked = now
                end(process)
        return reason

    def _lack(self, job: Row) -> str | None:
        """Why there is no room for the model of a job, which a quick job has written before anybody looks."""
        self._workspace.count_again()
        try:
            self._workspace.require(model_bytes(recipe_of(json.loads(job["settings"]))))
        except FullError as exc:
            return str(exc)
        return None

    def _excess(self, process: str, seconds: float) -> str | None:
        """What a job takes too much of."""
        held = memory(process)
        if held > self._memory_most:
            return (
                f"it took {size(held)} of memory; {size(self._memory_most)} are allowed. Use fewer images, a smaller "
                "network or a smaller batch_size, or start the service with a larger --job-memory-gb."
            )
        if seconds > self._seconds_most:
            return (
                f"it took longer than {self._seconds_most / 3600:g} hours. Use fewer images or epochs, or start the "
                "service with larger --job-hours."
            )
        if self._workspace.used > self._workspace.limit:
            return (
                f"the workspace holds more than the {size(self._workspace.limit)} that it may. Delete datasets or "
                "jobs, or start the service with a larger --disk-limit-gb."
            )
        return None

    def _conclude(self, job: str, folder: Path, reason: str) -> None:
        """Write down how a job has ended."""
        result = None
        with contextlib.suppress(OSError, ValueError):
            result = json.loads((folder / RESULT).read_bytes())
        if result is None:
            self._jobs.conclude(job, "failed", reason)
        elif result["state"] == "finished":
            self._jobs.conclude(job, "finished", digest=result["digest"])
        else:
            self._jobs.conclude(job, "failed", result["error"])
        row = self._jobs.row(job)
        _log.info("job %s (%s) is %s", job, row["name"], row["state"], extra={"event": f"job-{row['state']}"})


def _recorded(folder: Path) -> str | None:
    """The process that said last that it works for a job."""
    with contextlib.suppress(OSError):
        return (folder / PROCESS).read_text(encoding="utf-8")
    return None


def _why(code: int | None) -> str:
    """Why a process has ended without a word."""
    if code is not None and code < 0:
        return f"its process was ended from outside (signal {-code}); perhaps the memory of the machine was full."
    return "its process ended without a result; its log may say why."
