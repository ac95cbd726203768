"""Models that jobs have made, served: copied into the workspace, warmed, labelled, and served again after a restart."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
import time
import unicodedata
from collections.abc import Iterator

from models.errors import ConflictError, GraftError, InputError, MissingError
from models.files import sha256
from service.jobs.jobs import Jobs
from service.jobs.workspace import Workspace
from service.registry import Registry
from service.served import Served
from service.sources import FILE, Source

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


class Promoter:
    """Lets models of finished jobs be served."""

    def __init__(self, workspace: Workspace, jobs: Jobs, registry: Registry) -> None:
        self._workspace, self._jobs, self._registry = workspace, jobs, registry
        self._database = workspace.database
        self._promoting = threading.Lock()
        registry.label_watchers.append(self._remember_label)

    def promote(self, job: str, name: str | None, label: str | None) -> Served:
        """Serve the model of a finished job as the next version of `name`; it answers when this returns.

        Raises:
            MissingError: there is no such job.
            ConflictError: it is not finished, or its file is not the one that was proven.
            InputError: a name or a label that is none.
            BusyError: another model is being loaded.
            GraftError: as `Model.open`.
        """
        row = self._jobs.row(job)
        if row["state"] != "finished":
            raise ConflictError(
                f"the job {row['name']!r} is {row['state']}; only a finished one has a model to serve."
            )
        name = model_name(row["name"]) if name is None else name
        if not _NAME.fullmatch(name):
            raise InputError(
                f"the name is {name[:60]!r}; expected small letters, digits, dots, dashes and underscores, 80 at most."
            )
        if label is not None and (
            not label or label.isdecimal() or len(label) > 80 or set(label) & set("/:=")
        ):
            raise InputError(f"the label is {label[:60]!r}; expected a word such as stable or canary.")
        file = self._jobs.file(job, FILE)
        if sha256(file) != row["digest"]:  # the proof was of another file
            raise ConflictError(
                f"{FILE} of the job {row['name']!r} has changed since it was proven. Train it again."
            )
        with self._promoting:
            version = self._next(name)
            place = self._workspace.models / name / str(version)
            place.mkdir(parents=True)
            try:
                try:
                    os.link(file, place / FILE)
                except OSError:  # a disk without second names
                    self._workspace.require(file.stat().st_size)
                    shutil.copyfile(file, place / FILE)
                served = self._registry.open_if_idle(
                    Source(name, version, str(place / FILE), origin="workspace")
                )
                with self._database.writing() as records:
                    records.execute(
                        "INSERT INTO promotions (job, model, version, label, at) VALUES (?, ?, ?, ?, ?)",
                        (job, name, version, label, time.time()),
                    )
            except BaseException:
                with contextlib.suppress(GraftError):  # it may not have come so far
                    self._registry.unload(name, version)
                shutil.rmtree(place, ignore_errors=True)
                raise
        if label is not None:
            self._registry.move_label(name, label, version)
        return served

    def withdraw(self, name: str, version: int) -> None:
        """Serve a promoted version no longer, and delete its file.

        Raises:
            MissingError: none of that name and version was promoted.
            InputError: a label stands for it.
        """
        known = "model = ? AND version = ? AND withdrawn IS NULL"
        if self._database.row(f"SELECT 1 FROM promotions WHERE {known}", (name, version)) is None:
            raise MissingError(f"no version {version} of {name[:60]!r} was promoted here. See /v1/jobs.")
        with self._promoting:
            served = self._registry.families.get(name)
            if served is not None and version in served.versions:
                self._registry.unload(name, version)
            with self._database.writing() as records:
                records.execute(
                    f"UPDATE promotions SET withdrawn = ? WHERE {known}", (time.time(), name, version)
                )
            shutil.rmtree(self._workspace.models / name / str(version), ignore_errors=True)
        self._workspace.count_again()

    def sources(self) -> Iterator[Source]:
        """What was promoted and is to be served from the start."""
        for row in self._database.rows(
            "SELECT DISTINCT model, version FROM promotions WHERE withdrawn IS NULL ORDER BY model, version"
        ):
            file = self._workspace.models / row["model"] / str(row["version"]) / FILE
            if file.is_file():
                yield Source(row["model"], row["version"], str(file), origin="workspace")

    def restore_labels(self, registry: Registry) -> None:
        """Let labels stand for the versions for which they stood."""
        for row in self._database.rows("SELECT * FROM labels"):
            with contextlib.suppress(GraftError):  # that version could not be loaded, which was said
                registry.move_label(row["model"], row["label"], row["version"])

    def _next(self, name: str) -> int:
        """A version that this model has never had here."""
        family = self._registry.families.get(name)
        row = self._database.row("SELECT MAX(version) AS last FROM promotions WHERE model = ?", (name,))
        promoted = int(row["last"] or 0) if row is not None else 0
        known = family.versions if family is not None else {}
        return max(promoted, max(known, default=0)) + 1

    def _remember_label(self, name: str, label: str, version: int | None) -> None:
        """Keep where labels of our models stand, whoever moves them."""
        if self._database.row("SELECT 1 FROM promotions WHERE model = ?", (name,)) is None:
            return
        with self._database.writing() as records:
            if version is None:
                records.execute("DELETE FROM labels WHERE model = ? AND label = ?", (name, label))
            else:
                records.execute("INSERT OR REPLACE INTO labels VALUES (?, ?, ?)", (name, label, version))


def model_name(text: str) -> str:
    """A name for an address, made of any text: `Tasse & Ball!` becomes tasse-ball."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-") or "model"
