"""The process of a job: `python -m service.jobs.process FOLDER NICE` fine-tunes as job.json in the folder says.

job.json      {"title", "settings": as a recipe has them, "threads"}
images.jsonl  the images with their classes
events.jsonl  how it goes (`finetune.job.event_log`)
result.json   {"state": "finished", "digest"} or {"state": "failed", "error"}; there once it has ended by itself
log.txt       what the process writes
process       who does the job: its number and when it began
run/          the folder that the run writes; one that was begun goes on; at the end model-any-size.onnx too
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from feature_extraction.folder_lock import locked
from models.errors import GraftError, OutputError
from models.files import sha256, write_atomically
from service.jobs.processes import give_way, identity

JOB, IMAGES, EVENTS, RESULT, RUN, PROCESS = (
    "job.json", "images.jsonl", "events.jsonl", "result.json", "run", "process"
)  # fmt: skip
ANY_SIZE = "model-any-size.onnx"  # in the folder of the run, beside the model
BUSY = 75  # exit status: another process does the job
_RESERVE, _RESERVED = "reserve", 1 << 20  # bytes that are there for the result when the disk is full


def main(folder: Path, nice: int) -> int:
    """Do the job of a folder, unless another process does. Returns what the process exits with."""
    with contextlib.ExitStack() as context:
        try:
            context.enter_context(locked(folder))
        except OutputError:
            return BUSY
        return _done(folder, nice)


def _done(folder: Path, nice: int) -> int:
    give_way(nice)
    reserve = folder / _RESERVE
    try:
        (folder / PROCESS).write_text(identity(os.getpid()) or "", encoding="utf-8")
        reserve.write_bytes(bytes(_RESERVED))
        result = {"state": "finished", "digest": _finetuned(folder)}
    except Exception as exc:
        reserve.unlink(missing_ok=True)  # room for what is said of it, where the disk is full
        result = {"state": "failed", "error": _why(exc)}
        _log(exc, f"{type(exc).__name__}: {exc}")
    reserve.unlink(missing_ok=True)
    write_atomically(folder / RESULT, json.dumps(result).encode())
    return 0 if result["state"] == "finished" else 1


def _why(error: Exception) -> str:
    """Why a job has failed, as people are told."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            return "the disk of the workspace is full. Free some space, or delete datasets and jobs; then start again."
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, MemoryError):
        return "the memory of this machine was not enough. Use fewer or smaller images, or a smaller network."
    return str(error) if isinstance(error, GraftError) else "a fault in the job; its log has more."


def _finetuned(folder: Path) -> str:
    """Fine-tune; the digest of the finished file."""
    from finetune.dataset.opening import open_dataset
    from finetune.job.event_log import opened_log
    from finetune.job.recipe import Recipe
    from finetune.job.run import finetune
    from models.settings import updated

    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    recipe = updated(Recipe(), {name: _plain(value) for name, value in job["settings"].items()})
    dataset = open_dataset(folder / IMAGES, outside=True)
    with opened_log(folder / EVENTS) as events:
        outcome = finetune(
            dataclasses.replace(dataset, source=job["title"]),
            recipe,
            folder / RUN,
            threads=job["threads"],
            resume=True,
            observer=events,
        )
    add_any_size(outcome.model, job["threads"])
    return sha256(outcome.model)


def add_any_size(file: Path, threads: int | None) -> None:
    """Put the any-size version of a model beside it; where there can be none the log says why, and the job goes on."""
    try:
        from models.any_size import checked_any_size
        from models.loading import load

        made, _ = checked_any_size(load(file), threads=threads)
        write_atomically(file.with_name(ANY_SIZE), made.SerializeToString())
    except Exception as exc:
        _log(exc, f"No {ANY_SIZE}: {exc}")


def _log(error: Exception, text: str) -> None:
    """Say what went wrong, of a fault also where; what follows is done all the same where the log's disk is full."""
    with contextlib.suppress(OSError):
        if not isinstance(error, GraftError):
            traceback.print_exception(error)
        print(text, file=sys.stderr)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
