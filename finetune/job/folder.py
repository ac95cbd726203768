"""The folder of a fine-tuning run: what it holds, who works in it, and whether a run may go on in it.

model.onnx      the finished model
report.html     what it is worth, with report.json for programs
tensorboard/    curves, for `tensorboard --logdir`
run.json        the settings of the run, and a digest of its data
work/           checkpoints; gone when the run has finished
"""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from feature_extraction.folder_lock import NAME as LOCK
from feature_extraction.folder_lock import locked
from models.errors import OutputError
from models.files import half_written, write_atomically
from models.wording import differences

FORMAT = 1
_IMAGES = "images"  # of a plan: the digest of its data
MODEL, PLAN, WORK, EVENTS = "model.onnx", "run.json", "work", "tensorboard"
COMMAND = "command.json"  # in WORK, of a run whose report is still to be made
_FILES = (MODEL, PLAN, "report.html", "report.json")


class RunFolder:
    """A folder that one run writes, and that the same run may be resumed in."""

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path, self.resume = path, resume
        self.work = path / WORK
        self.began = time.monotonic()
        self.finished = False

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, *, resume: bool = False) -> Iterator[RunFolder]:
        """Make the folder, or enter that of an earlier run, and keep others out.

        Raises:
            OutputError: it cannot be written, another process works in it, or it holds something else.
        """
        made = not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
            try:
                with locked(path):
                    folder = cls(path, resume=resume)
                    folder._enter()
                    yield folder
            except BaseException:
                if made:  # a name that was never used stays free for the next run
                    with contextlib.suppress(OSError):  # where something is in it, it stays
                        path.rmdir()
                raise
        except OSError as exc:
            raise OutputError(
                f"{path}: cannot be written ({exc.strerror or exc}). Free some space, or choose another folder; what "
                "is there stays, and --resume goes on with it."
            ) from exc

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Write down what this run is, or see that it is the one that was begun here.

        A run that has finished is left as it is.

        Raises:
            OutputError: the run that was begun here had other settings or other images.
        """
        values = json.loads(json.dumps({"format": FORMAT, **plan}))
        known = self._known()
        if known is None:
            write_atomically(self.path / PLAN, json.dumps(values, indent=2, ensure_ascii=False).encode())
        elif different := list(_changes(known, values)):
            raise OutputError(
                f"{self.path}: was {'finished' if self.finished else 'begun'} with something else "
                f"({'; '.join(different[:5])}). Resume it with that, or choose another folder with --out."
            )
        if self.finished:
            return
        for left in self._half_written():
            left.unlink()
        self.work.mkdir(exist_ok=True)

    def time_of(self, share: float, limit: float | None) -> float | None:
        """When so much of a time limit in seconds is over, by `time.monotonic`; None where there is no limit."""
        return None if limit is None else self.began + share * limit

    def part(self, name: str) -> RunFolder:
        """The same run, with a folder of its own for one of several ways to learn."""
        part = RunFolder(self.work / name, resume=self.resume)
        part.work.mkdir(parents=True, exist_ok=True)
        return part

    def finish(self) -> None:
        """Remove what only an unfinished run needs."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.finished = True

    def _enter(self) -> None:
        known = self._known()
        passed = {LOCK, *(path.name for path in self._half_written())}
        strangers = [entry.name for entry in self.path.iterdir() if entry.name not in passed]
        if known is None and strangers:
            raise OutputError(
                f"{self.path}: holds other files ({', '.join(sorted(strangers)[:3])}). Choose a new or empty folder."
            )
        self.finished = known is not None and not self.work.exists() and (self.path / MODEL).is_file()
        if known is not None and not self.resume:
            state, advice = "a finished run", "Choose another folder with --out, or remove this one."
            if not self.finished:
                state = "a run that has not finished"
                advice = "Go on with it by --resume, or choose another folder with --out."
            raise OutputError(f"{self.path}: holds {state}. {advice}")

    def _half_written(self) -> list[Path]:
        """What a process left that was killed while it wrote a file."""
        return [left for name in _FILES for left in half_written(self.path / name)]

    def _known(self) -> dict[str, Any] | None:
        path = self.path / PLAN
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["format"] != FORMAT:
                raise ValueError(f"format {values['format']}")
        except (ValueError, KeyError, TypeError) as exc:
            raise OutputError(
                f"{path}: is no record of a run that this version reads ({exc}). Choose another folder."
            ) from exc
        return values  # type: ignore[no-any-return]


def _changes(known: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    """What is not as it was, in words."""
    if known.get(_IMAGES) != values.get(_IMAGES):
        yield "the images or their labels have changed"
    yield from differences({**known, _IMAGES: None}, {**values, _IMAGES: None})


def why_another(base: Path, folder: Path) -> str:
    """Why a run is written to `folder` and not to `base`, and what else could be done."""
    if (base / WORK / COMMAND).is_file():
        state = f"holds a run without a page, which `graft report {shlex.quote(str(base))}` makes"
    elif (base / PLAN).is_file() and ((base / WORK).exists() or not (base / MODEL).is_file()):
        resumed = f"--out {shlex.quote(str(base))} --resume"
        state = f"holds a run that has not finished; the same command with {resumed} goes on with it"
    elif (base / MODEL).is_file():
        state = "holds a run that has finished"
    else:
        state = "is there already"
    return f"{base} {state}. This run is written to {folder}."


def free_folder(base: Path) -> Path:
    """`base`, or the first of base-2, base-3 ... that is not there yet."""
    number, path = 1, base
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path
