"""Datasets: named classes of photos. Records know the names; files are called by ids, so that any name is safe."""

from __future__ import annotations

import shutil
import sqlite3
import time
from dataclasses import dataclass

from feature_extraction.items import printable
from models.errors import ConflictError, InputError, MissingError
from models.wording import composed
from service.jobs.database import Row
from service.jobs.workspace import Workspace, new_id

CLASSES_MOST = 1000  # of a dataset
CLASS_NAME_MOST = 120  # characters
_NAME_MOST = 200


@dataclass(frozen=True)
class Class:
    """A class of a dataset."""

    id: str
    name: str
    count: int


class Datasets:
    """All datasets of a workspace. Safe to use from all threads."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self._database = workspace, workspace.database
        self._remove_unknown()

    def _remove_unknown(self) -> None:
        """Take away what was being taken in, or deleted, when the process was killed."""
        with self._database.writing() as records:
            records.execute("DELETE FROM datasets WHERE ready = 0")
        datasets = {row["id"] for row in self._database.rows("SELECT id FROM datasets")}
        for kind in ("datasets", "thumbnails"):
            for folder in (self.workspace.folder / kind).iterdir():
                if folder.name not in datasets:
                    shutil.rmtree(folder, ignore_errors=True)

    # Datasets

    def create(self, name: str, *, ready: bool = True) -> str:
        """Make an empty dataset. Returns its id. One that is not `ready` is listed when it is finished.

        Raises:
            InputError: the name is none.
        """
        known, name = new_id(), checked_name(name, "dataset", _NAME_MOST)
        with self._database.writing() as records:
            records.execute(
                "INSERT INTO datasets (id, name, created, ready) VALUES (?, ?, ?, ?)",
                (known, name, time.time(), ready),
            )
        self.workspace.photos(known).mkdir(parents=True, exist_ok=True)
        return known

    def finish(self, dataset: str) -> None:
        """All of a dataset is there."""
        with self._database.writing() as records:
            records.execute("UPDATE datasets SET ready = 1 WHERE id = ?", (dataset,))

    def rows(self) -> list[Row]:
        """The records of all datasets, the oldest first."""
        return self._database.rows("SELECT * FROM datasets WHERE ready = 1 ORDER BY created, id")

    def row(self, dataset: str) -> Row:
        """The record of a dataset.

        Raises:
            MissingError: there is none of that id.
        """
        row = self._database.row("SELECT * FROM datasets WHERE id = ?", (dataset,))
        if row is None:
            raise MissingError(
                f"no dataset has the id {dataset[:60]!r}. See /v1/datasets for those there are."
            )
        return row

    def delete(self, dataset: str) -> None:
        """Delete a dataset with its photos; those that lie elsewhere stay there.

        Raises:
            MissingError: there is none of that id.
        """
        self.row(dataset)
        with self._database.writing() as records:
            records.execute("DELETE FROM datasets WHERE id = ?", (dataset,))
        for folder in (self.workspace.photos(dataset), self.workspace.thumbnails(dataset)):
            shutil.rmtree(folder, ignore_errors=True)
        self.workspace.count_again()

    def remark(self, dataset: str, kind: str, message: str) -> None:
        """Keep what was noticed while images were taken in."""
        with self._database.writing() as records:
            records.execute("INSERT INTO remarks VALUES (?, ?, ?)", (dataset, kind, message))

    def remarks(self, dataset: str) -> list[Row]:
        """What was noticed while images were taken in."""
        return self._database.rows(
            "SELECT kind, message FROM remarks WHERE dataset = ? ORDER BY rowid", (dataset,)
        )

    # Classes

    def classes(self, dataset: str) -> list[Class]:
        """The classes of a dataset in the order in which they were made.

        Raises:
            MissingError: there is none of that id.
        """
        self.row(dataset)
        rows = self._database.rows(
            "SELECT classes.id, classes.name, COUNT(images.id) AS count FROM classes LEFT JOIN images ON "
            "images.class = classes.id WHERE classes.dataset = ? GROUP BY classes.id ORDER BY classes.rowid",
            (dataset,),
        )
        return [Class(row["id"], row["name"], row["count"]) for row in rows]

    def class_id(self, dataset: str, name: str, *, make: bool = False) -> str:
        """The id of a class by its name. `make` it where there is none.

        Raises:
            MissingError: there is no such dataset, or class.
            InputError: the name is none, or there are too many classes.
        """
        self.row(dataset)
        name = checked_name(name, "class", CLASS_NAME_MOST)
        query = "SELECT id FROM classes WHERE dataset = ? AND name = ?"
        row = self._database.row(query, (dataset, name))
        if row is not None:
            return str(row["id"])
        if not make:
            raise MissingError(f"the dataset has no class {name!r}. Make it first.")
        with self._database.writing() as records:
            row = records.execute(query, (dataset, name)).fetchone()  # somebody else may just have made it
            if row is not None:
                return str(row["id"])
            (count,) = records.execute(
                "SELECT COUNT(*) FROM classes WHERE dataset = ?", (dataset,)
            ).fetchone()
            if count >= CLASSES_MOST:
                raise InputError(
                    f"the dataset has {count:,} classes, as many as may be taught here. For more, use the command "
                    "line: graft finetune FOLDER"
                )
            known = new_id()
            records.execute("INSERT INTO classes VALUES (?, ?, ?)", (known, dataset, name))
            count_change(records, dataset)
        return known

    def rename_class(self, dataset: str, known: str, name: str) -> None:
        """Give a class another name.

        Raises:
            MissingError: there is no such class.
            InputError: the name is none.
            ConflictError: another class has it.
        """
        self._class(dataset, known)
        name = checked_name(name, "class", CLASS_NAME_MOST)
        try:
            with self._database.writing() as records:
                records.execute("UPDATE classes SET name = ? WHERE id = ?", (name, known))
                count_change(records, dataset)
        except sqlite3.IntegrityError as exc:
            raise ConflictError(
                f"another class is called {name!r}. Choose another name, or move the photos."
            ) from exc

    def delete_class(self, dataset: str, known: str) -> None:
        """Delete the records of a class and of its images.

        Raises:
            MissingError: there is no such class.
        """
        self._class(dataset, known)
        with self._database.writing() as records:
            records.execute("DELETE FROM classes WHERE id = ?", (known,))
            count_change(records, dataset)

    def _class(self, dataset: str, known: str) -> Row:
        self.row(dataset)
        row = self._database.row("SELECT * FROM classes WHERE dataset = ? AND id = ?", (dataset, known))
        if row is None:
            raise MissingError(
                f"the dataset has no class with the id {known[:60]!r}; its classes are listed with it."
            )
        return row


def count_change(records: sqlite3.Connection, dataset: str) -> None:
    """Give a dataset its next revision."""
    records.execute("UPDATE datasets SET revision = revision + 1 WHERE id = ?", (dataset,))


def checked_name(name: str, what: str, most: int) -> str:
    """A name as it is kept: in Unicode's composed form, without spaces around it. Any signs may stand in it.

    Raises:
        InputError: it is empty, too long, or has lines or other signs that cannot be seen.
    """
    name = composed(printable(name)).strip()
    # Marks of direction are part of writing from right to left.
    hidden = [sign for sign in name if not sign.isprintable() and sign not in "\u200c\u200d\u200e\u200f"]
    if not name or len(name) > most or hidden:
        raise InputError(
            f"the name of the {what} is {name[:60]!r}; expected 1 to {most} signs, in one line, that can be seen."
        )
    return name
