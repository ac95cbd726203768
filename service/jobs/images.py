"""The photos of datasets: their records, their files, and small versions of them."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from models.errors import FullError, InputError, MissingError
from models.files import write_atomically
from service.jobs.database import Row
from service.jobs.datasets import Datasets, count_change
from service.jobs.photos import Photo, small_version
from service.jobs.workspace import Workspace, new_id

IMAGES_MOST = 200_000  # of a dataset
SIDES = (80, 160, 320, 640)  # pixels of the longer side of small versions
# Of a record; `pixels`, which are most of it, are asked for by themselves.
_COLUMNS = ", ".join(f"images.{name}" for name in (
    "id", "number", "dataset", "class", "name", "file", "kept", "split", "bytes", "digest", "width", "height", "mode",
    "format", "flaw", "detail",
))  # fmt: skip
_RECORDS = (
    f"SELECT {_COLUMNS}, classes.name AS class_name FROM images JOIN classes ON classes.id = images.class "
    "WHERE images.dataset = ?"
)
_BESIDE = 4096 + 600  # bytes of records for each photo
_ADVICE = "Free some space on the disk of the workspace, or delete datasets and jobs."


class Images:
    """The images of all datasets. Safe to use from all threads."""

    def __init__(self, workspace: Workspace, datasets: Datasets) -> None:
        self._workspace, self._datasets, self._database = workspace, datasets, workspace.database
        self._remove_unknown()

    def _remove_unknown(self) -> None:
        """Take away photos that were written when the process was killed, before a record knew of them."""
        known = {row["file"] for row in self._database.rows("SELECT file FROM images WHERE kept = 1")}
        for file in (self._workspace.folder / "datasets").glob("*/*"):
            if file.relative_to(self._workspace.folder).as_posix() not in known:
                file.unlink(missing_ok=True)

    def add(
        self,
        dataset: str,
        class_id: str,
        photo: Photo,
        *,
        split: str | None = None,
        elsewhere: Path | None = None,
    ) -> str:
        """Add a photo to a class. Returns its id. `elsewhere`: where its file lies and stays; else it is kept here.

        Raises:
            InputError: there are too many images.
            FullError: there is no room for it.
        """
        known, facts = new_id(), photo.facts
        assert facts.pixels is not None  # it was read
        self._workspace.require(_BESIDE + (0 if elsewhere else len(photo.data)))
        file = self._workspace.photos(dataset) / f"{known}{photo.ending}" if elsewhere is None else elsewhere
        if elsewhere is None:
            write_atomically(file, photo.data, advice=_ADVICE)
        stored = file.as_posix() if elsewhere else file.relative_to(self._workspace.folder).as_posix()
        values = (
            known, dataset, class_id, photo.name, stored, elsewhere is None, split, len(photo.data), facts.digest,
            facts.width, facts.height, facts.mode, facts.format, facts.pixels.tobytes(), photo.flaw, photo.detail,
        )  # fmt: skip
        try:
            with self._database.writing() as records:
                (count,) = records.execute(
                    "SELECT COUNT(*) FROM images WHERE dataset = ?", (dataset,)
                ).fetchone()
                if count >= IMAGES_MOST:
                    raise InputError(
                        f"the dataset has {count:,} images, as many as may be taught here. For more, use the command "
                        "line: graft finetune FOLDER"
                    )
                records.execute(
                    "INSERT INTO images (id, dataset, class, name, file, kept, split, bytes, digest, width, height, "
                    f"mode, format, pixels, flaw, detail) VALUES ({', '.join('?' * len(values))})",
                    values,
                )
                count_change(records, dataset)
        except BaseException as exc:
            if elsewhere is None:
                file.unlink(missing_ok=True)
            if isinstance(exc, sqlite3.IntegrityError):
                raise MissingError("the dataset or the class was deleted meanwhile.") from exc
            raise
        return known

    def same(self, class_id: str, photo: Photo) -> str | None:
        """The id of the very same photo, by name and bytes, that a class has already."""
        row = self._database.row(
            "SELECT id FROM images WHERE class = ? AND name = ? AND digest = ?",
            (class_id, photo.name, photo.facts.digest),
        )
        return None if row is None else str(row["id"])

    def images(
        self, dataset: str, class_id: str | None = None, offset: int = 0, limit: int = -1
    ) -> list[Row]:
        """Records of images with the names of their classes, in the order in which they came."""
        where, values = ("AND images.class = ?", [class_id]) if class_id else ("", [])
        return self._database.rows(
            f"{_RECORDS} {where} ORDER BY images.number LIMIT ? OFFSET ?", [dataset, *values, limit, offset]
        )

    def pixels(self, dataset: str, first: int) -> dict[str, bytes]:
        """The pixels (32, 32, 3) of images by their ids, from that with the number `first` on."""
        rows = self._database.rows(
            "SELECT id, pixels FROM images WHERE dataset = ? AND number >= ?", (dataset, first)
        )
        return {row["id"]: row["pixels"] for row in rows}

    def count(self, dataset: str, class_id: str | None = None) -> int:
        """How many images a dataset, or one class of it, has."""
        where, values = ("AND class = ?", [class_id]) if class_id else ("", [])
        (row,) = self._database.rows(
            f"SELECT COUNT(*) AS count FROM images WHERE dataset = ? {where}", [dataset, *values]
        )
        return int(row["count"])

    def total_bytes(self, dataset: str) -> int:
        """Bytes of all photos of a dataset."""
        (row,) = self._database.rows("SELECT SUM(bytes) AS sum FROM images WHERE dataset = ?", (dataset,))
        return int(row["sum"] or 0)

    def image(self, dataset: str, image: str) -> Row:
        """The record of an image.

        Raises:
            MissingError: there is none of that id.
        """
        row = self._database.row(f"{_RECORDS} AND images.id = ?", (dataset, image))
        if row is None:
            self._datasets.row(dataset)
            raise MissingError(
                f"the dataset has no image with the id {image[:60]!r}; it may have been deleted."
            )
        return row

    def relabel(self, dataset: str, image: str, class_id: str) -> None:
        """Move an image to another class.

        Raises:
            MissingError: there is none of that id.
        """
        self.image(dataset, image)
        with self._database.writing() as records:
            records.execute("UPDATE images SET class = ? WHERE id = ?", (class_id, image))
            count_change(records, dataset)

    def delete_image(self, dataset: str, image: str) -> None:
        """Delete an image; a file that lies elsewhere stays there.

        Raises:
            MissingError: there is none of that id.
        """
        row = self.image(dataset, image)
        with self._database.writing() as records:
            records.execute("DELETE FROM images WHERE id = ?", (image,))
            count_change(records, dataset)
        self._remove_files(row)

    def file(self, row: Row) -> Path:
        """Where the bytes of an image lie."""
        return self._workspace.folder / row["file"] if row["kept"] else Path(row["file"])

    def content(self, row: Row) -> bytes:
        """The bytes of an image.

        Raises:
            MissingError: they are gone.
        """
        try:
            return self.file(row).read_bytes()
        except OSError as exc:
            raise MissingError(
                f"{row['name']}: its file is gone ({exc.strerror}). Delete the image."
            ) from exc

    def thumbnail(self, row: Row, side: int) -> bytes:
        """A small version of an image, as a JPEG, made when it is asked for the first time.

        Raises:
            MissingError, ImageError: the image is gone or cannot be read any more.
        """
        file = self._workspace.thumbnails(row["dataset"]) / f"{row['id']}-{side}.jpg"
        with contextlib.suppress(OSError):
            return file.read_bytes()
        small = small_version(self.content(row), side, row["name"])
        with contextlib.suppress(FullError):  # it can be shown without being kept
            self._workspace.require(len(small))
            write_atomically(file, small, advice=_ADVICE)
        return small

    def _remove_files(self, row: Row) -> None:
        if row["kept"]:
            self.file(row).unlink(missing_ok=True)
        for side in SIDES:
            (self._workspace.thumbnails(row["dataset"]) / f"{row['id']}-{side}.jpg").unlink(missing_ok=True)

    def remove_class(self, dataset: str, class_id: str) -> None:
        """Delete a class with its photos.

        Raises:
            MissingError: there is no such class.
        """
        rows = self.images(dataset, class_id)
        self._datasets.delete_class(dataset, class_id)
        for row in rows:
            self._remove_files(row)
