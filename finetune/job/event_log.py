"""How a run goes, as JSON lines in a file: for programs, in other processes too, while it works and after it.

{"event": "stage", "stage": "scan", "words": "looking at the images", "total": 60, "at": 1764115200.0}
{"event": "progress", "stage": "scan", "done": 12, "total": 60, "seconds_left": 1.5}
{"event": "epoch", "phase": "head", "epoch": 1, "epochs": 50, "loss": 0.6, "accuracy": 0.7, "validation_loss": ...}
{"event": "log", "text": "fewer than 20 images to train on in 1 class: ball"}
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from finetune.job.observing import STAGES, Observer
from finetune.training.result import Epoch, EpochProgress

_SECONDS = 0.2  # between two lines about how far a stage is


class EventLog(Observer):
    """Appends a line for each thing that a run says; of progress, five a second at most."""

    def __init__(self, file: TextIO, clock: Callable[[], float] = time.time) -> None:
        self._file, self._clock = file, clock
        self._stage, self._total, self._written_at = "", 0, 0.0
        # From when and from what on the pace is measured; training has phases, and may go on from a checkpoint.
        self._phase, self._since, self._before = "", 0.0, 0

    def begin(self, stage: str, total: int | None = None) -> None:
        """A stage begins, with `total` pieces of work where that is known."""
        self._stage, self._total, self._written_at = stage, total or 0, 0.0
        self._phase, self._since, self._before = "", self._clock(), 0
        self._write("stage", stage=stage, words=STAGES.get(stage, stage), total=total)

    def advance(self, done: int) -> None:
        """So many pieces of the stage are done."""
        self._progress(done, self._total)

    def train(self, progress: EpochProgress) -> None:
        """Where training stands."""
        done = progress.steps * (progress.epoch - 1) + progress.step
        if progress.phase != self._phase:
            self._phase, self._since, self._before = progress.phase, self._clock(), done
        if progress.ended is not None:
            self._write(
                "epoch", phase=progress.phase, epoch=progress.epoch, epochs=progress.epochs,
                **_figures(progress.ended),
            )  # fmt: skip
        else:
            self._progress(done, progress.steps * progress.epochs)

    def end(self, stage: str, seconds: float) -> None:
        """A stage has ended."""
        self._write("stage_end", stage=stage, seconds=round(seconds, 3))

    def say(self, text: str) -> None:
        """Something that the user should know."""
        self._write("log", text=text)

    def _progress(self, done: int, total: int) -> None:
        now = self._clock()
        if now - self._written_at < _SECONDS and done != total:
            return
        self._written_at = now
        gone = done - self._before
        left = (now - self._since) / gone * (total - done) if gone and total else None
        self._write(
            "progress", stage=self._stage, done=done, total=total or None,
            seconds_left=None if left is None else round(left, 1),
        )  # fmt: skip

    def _write(self, event: str, **facts: Any) -> None:
        line = {"event": event, **facts, "at": round(self._clock(), 3)}
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()


def _figures(epoch: Epoch) -> dict[str, float | None]:
    """What was measured in an epoch; R2 stands for the accuracy of a regression."""
    figures = {
        "loss": epoch.loss,
        "accuracy": epoch.accuracy if epoch.accuracy is not None else epoch.r2,
        "validation_loss": epoch.val_loss,
        "validation_accuracy": epoch.val_accuracy if epoch.val_accuracy is not None else epoch.val_r2,
    }
    # JSON knows no NaN.
    return {
        name: value if value is not None and math.isfinite(value) else None for name, value in figures.items()
    }


@contextlib.contextmanager
def opened_log(file: Path) -> Iterator[EventLog]:
    """A log that goes on behind what an earlier process wrote."""
    with file.open("a+b") as raw:
        if raw.tell():
            raw.seek(-1, os.SEEK_END)
            if raw.read(1) != b"\n":  # the process was killed while it wrote
                raw.write(b"\n")
    with file.open("a", encoding="utf-8") as stream:
        yield EventLog(stream)


def read_events(file: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
    """The events of a file from a byte on, and the byte behind the last whole line; none where there is no file.

    A line that a killed process left half written, which the next one goes on behind, is passed over.
    """
    try:
        with file.open("rb") as stream:
            stream.seek(offset)
            text = stream.read()
    except FileNotFoundError:
        return [], offset
    whole = text[: text.rfind(b"\n") + 1]
    events = []
    for line in whole.splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            events.append({"event": "broken"})
    return events, offset + len(whole)
