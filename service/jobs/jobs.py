"""Fine-tuning jobs: their records, what each is given, and what has become of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from models.errors import ConflictError, InputError, MissingError
from models.files import write_atomically
from service.jobs.database import Row
from service.jobs.datasets import Datasets, checked_name
from service.jobs.images import Images
from service.jobs.process import EVENTS, IMAGES, JOB, RUN
from service.jobs.processes import LOG
from service.jobs.recipes import recipe_of
from service.jobs.workspace import Workspace, new_id

State = Literal["queued", "running", "cancelling", "cancelled", "failed", "finished"]
STATES: tuple[State, ...] = get_args(State)
ENDED = ("cancelled", "failed", "finished")
_NAME_MOST = 120
_QUEUED_MOST = 100
_PHOTOS = "images"  # folder of a job, in which its photos stay as they were when it was made
_EXAMPLES = "model.onnx, model-any-size.onnx, report.html, report.json, log.txt"


class Jobs:
    """All jobs of a workspace. Safe to use from all threads; who runs them is `service.jobs.runner`."""

    def __init__(self, workspace: Workspace, datasets: Datasets, images: Images) -> None:
        self.workspace, self._datasets, self._images = workspace, datasets, images
        self._database = workspace.database
        known = {row["id"] for row in self.rows()}
        for folder in (workspace.folder / "jobs").iterdir():
            if folder.name not in known:  # it was killed before a record knew of it, or while it was deleted
                shutil.rmtree(folder, ignore_errors=True)

    def create(self, dataset: str, name: str, settings: Mapping[str, Any], threads: int | None = None) -> str:
        """Let a job wait for its turn: it learns the images as they are now. Returns its id.

        Raises:
            MissingError: there is no such dataset.
            InputError: settings that cannot be, or fewer than two classes with images.
            ConflictError: too many jobs wait.
            FullError: there is no room for it.
        """
        recipe = recipe_of(settings)
        row = self._datasets.row(dataset)
        name = checked_name(name or row["name"], "job", _NAME_MOST)
        full = [one for one in self._datasets.classes(dataset) if one.count]
        if len(full) < 2:
            raise InputError(
                f"the dataset {row['name']!r} has images of {len(full)} class{'es' if len(full) != 1 else ''}; a model "
                "needs two or more to tell apart. Add photos of another."
            )
        if len(self.waiting()) >= _QUEUED_MOST:
            raise ConflictError(
                f"{_QUEUED_MOST} jobs wait already. Cancel some, or come again when they have ended."
            )
        known, values = new_id(), recipe.to_json()
        values |= values.pop("training")
        folder = self.workspace.job(known)
        folder.mkdir(parents=True)
        try:
            lines = self._snapshot(dataset, folder)
            write_atomically(folder / IMAGES, lines)
            job = {"title": name, "settings": values, "threads": threads}
            write_atomically(folder / JOB, json.dumps(job, ensure_ascii=False).encode())
            with self._database.writing() as records:
                records.execute(
                    "INSERT INTO jobs (id, name, dataset, revision, settings, state, created) VALUES (?, ?, ?, ?, ?, "
                    "'queued', ?)",
                    (known, name, dataset, row["revision"], json.dumps(dict(settings)), time.time()),
                )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return known

    def _snapshot(self, dataset: str, folder: Path) -> bytes:
        """The list of a job's images; their files get a second name, so that they stay when somebody deletes them."""
        rows = self._images.images(dataset)
        splits = any(row["split"] for row in rows)
        lines, photos = [], folder / _PHOTOS
        photos.mkdir()
        for row in rows:
            file = self._images.file(row)
            path = str(file)
            if row["kept"]:
                path = f"{_PHOTOS}/{file.name}"
                try:
                    os.link(file, folder / path)
                except FileNotFoundError:  # it was deleted in this moment
                    continue
                except OSError:  # a disk without such names
                    self.workspace.require(row["bytes"])
                    shutil.copyfile(file, folder / path)
            line = {"path": path, "label": row["class_name"], "id": row["id"]}
            if splits:
                line["split"] = row["split"] or "train"
            lines.append(json.dumps(line) + "\n")
        return "".join(lines).encode()

    # Records

    def rows(self) -> list[Row]:
        """The records of all jobs, the newest first."""
        return self._database.rows("SELECT * FROM jobs ORDER BY number DESC")

    def find(self, job: str) -> Row | None:
        """The record of a job, where there is one."""
        return self._database.row("SELECT * FROM jobs WHERE id = ?", (job,))

    def row(self, job: str) -> Row:
        """The record of a job.

        Raises:
            MissingError: there is none of that id.
        """
        row = self.find(job)
        if row is None:
            raise MissingError(f"no job has the id {job[:60]!r}. See /v1/jobs for those there are.")
        return row

    def waiting(self) -> list[Row]:
        """Jobs that have not begun, the next one first."""
        return self._database.rows("SELECT * FROM jobs WHERE state = 'queued' ORDER BY number")

    def begun(self) -> list[Row]:
        """Jobs that have begun and not ended."""
        return self._database.rows(
            "SELECT * FROM jobs WHERE state IN ('running', 'cancelling') ORDER BY number"
        )

    def promotions(self, job: str) -> list[Row]:
        """Where the model of a job is served."""
        return self._database.rows(
            "SELECT * FROM promotions WHERE job = ? AND withdrawn IS NULL ORDER BY rowid", (job,)
        )

    # Changes of state

    def start(self, job: str) -> bool:
        """A job begins. Returns whether it does: somebody may just have cancelled it."""
        with self._database.writing() as records:
            changed = records.execute(
                "UPDATE jobs SET state = 'running', started = COALESCE(started, ?) WHERE id = ? AND state IN "
                "('queued', 'running')",
                (time.time(), job),
            )
        return changed.rowcount == 1

    def cancel(self, job: str) -> None:
        """Cancel a job: at once where it waits, else when its process has ended.

        Raises:
            MissingError: there is none of that id.
            ConflictError: it has ended.
        """
        with self._database.writing() as records:
            waits = records.execute(
                "UPDATE jobs SET state = 'cancelled', ended = ? WHERE id = ? AND state = 'queued'",
                (time.time(), job),
            )
            runs = records.execute(
                "UPDATE jobs SET state = 'cancelling' WHERE id = ? AND state IN ('running', 'cancelling')",
                (job,),
            )
        if waits.rowcount:
            self._tidy(job)
        elif not runs.rowcount:
            raise ConflictError(
                f"the job is {self.row(job)['state']}; only one that waits or runs can be cancelled."
            )

    def conclude(self, job: str, state: State, error: str | None = None, digest: str | None = None) -> None:
        """A job has ended; one that was cancelled meanwhile, and did not finish, is that."""
        with self._database.writing() as records:
            records.execute(
                "UPDATE jobs SET state = CASE WHEN state = 'cancelling' AND ?1 = 'failed' THEN 'cancelled' ELSE ?1 "
                "END, error = CASE WHEN state = 'cancelling' THEN NULL ELSE ?2 END, digest = ?3, ended = ?4 WHERE "
                "id = ?5",
                (state, error, digest, time.time(), job),
            )
        self._tidy(job)

    def delete(self, job: str) -> None:
        """Delete a job with its files; models that were promoted stay.

        Raises:
            MissingError: there is none of that id.
            ConflictError: it runs.
        """
        with self._database.writing() as records:
            gone = records.execute(
                "DELETE FROM jobs WHERE id = ? AND state NOT IN ('running', 'cancelling')", (job,)
            )
        if not gone.rowcount:
            raise ConflictError(f"the job is {self.row(job)['state']}. Cancel it first.")
        shutil.rmtree(self.workspace.job(job), ignore_errors=True)
        self.workspace.count_again()

    def _tidy(self, job: str) -> None:
        """Let go of what only a job that goes on needs."""
        folder = self.workspace.job(job)
        shutil.rmtree(folder / _PHOTOS, ignore_errors=True)
        shutil.rmtree(folder / RUN / "work", ignore_errors=True)
        self.workspace.count_again()

    # Files

    def events(self, job: str) -> Path:
        """Where the events of a job lie."""
        return self.workspace.job(job) / EVENTS

    def log(self, job: str) -> Path:
        """What the process of a job has written."""
        return self.workspace.job(job) / LOG

    def files(self, job: str) -> dict[str, Path]:
        """What a job has made, by the names under which it is asked for."""
        folder = self.workspace.job(job)
        kept = {LOG: folder / LOG, EVENTS: folder / EVENTS}
        with contextlib.suppress(OSError):
            for path in sorted((folder / RUN).iterdir()):
                if path.is_file() and not path.name.startswith("."):
                    kept[path.name] = path
        return {name: path for name, path in kept.items() if path.is_file()}

    def file(self, job: str, name: str) -> Path:
        """A file that a job has made.

        Raises:
            MissingError: there is none of that name.
        """
        self.row(job)
        file = self.files(job).get(name)
        if file is None:
            raise MissingError(
                f"the job has no file {name[:60]!r}; expected one of those listed with it ({_EXAMPLES})."
            )
        return file

    def report(self, job: str) -> dict[str, Any] | None:
        """The numbers of the report of a job (docs/report.md); None before there are any."""
        try:
            values: dict[str, Any] = json.loads((self.workspace.job(job) / RUN / "report.json").read_bytes())
        except (OSError, ValueError):
            return None
        return values
