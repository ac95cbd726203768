"""The folder in which a service teaches: where what lies in it, and how much may.

workspace.db   records of datasets, images, jobs and promotions
datasets/      ID/IMAGE.jpg: photos, called by their ids, whatever their names are
thumbnails/    ID/IMAGE-160.jpg, made when somebody looks
jobs/          ID/: what a job was given, its events, its log, and run/, the folder that `graft finetune` writes
models/        NAME/VERSION/model.onnx: what was promoted
incoming/      uploads that have not ended; emptied at the start
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import threading
import time
from pathlib import Path

from feature_extraction.folder_lock import locked
from models.errors import FullError, OutputError
from models.wording import size
from service.jobs.database import Database

_SPARE = 64 << 20  # bytes of the disk that are left to others
_KNOWN_S = 5.0  # for which a sum of all files counts
_FOLDERS = ("datasets", "thumbnails", "jobs", "models", "incoming")


class Workspace:
    """A workspace that this process alone has open."""

    def __init__(self, folder: Path, limit: int) -> None:
        """`limit`: bytes that all of it may take.

        Raises:
            OutputError: it cannot be written, or another service has it.
        """
        self.folder, self.limit = folder.absolute(), limit
        self._summing = threading.Lock()
        self._used, self._summed = 0, -_KNOWN_S
        self._context = contextlib.ExitStack()
        try:
            for name in _FOLDERS:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            self._context.enter_context(locked(self.folder))
        except OSError as exc:
            raise OutputError(
                f"{folder}: cannot be used as a workspace ({exc.strerror or exc}). Choose a folder of yours."
            ) from exc
        self.database = Database(self.folder / "workspace.db")
        for left in self.incoming.iterdir():
            left.unlink(missing_ok=True)

    @property
    def incoming(self) -> Path:
        """Where uploads lie until they are taken in."""
        return self.folder / "incoming"

    @property
    def models(self) -> Path:
        """What was promoted."""
        return self.folder / "models"

    def photos(self, dataset: str) -> Path:
        """The folder of a dataset's photos."""
        return self.folder / "datasets" / dataset

    def thumbnails(self, dataset: str) -> Path:
        """The folder of small versions of a dataset's photos."""
        return self.folder / "thumbnails" / dataset

    def job(self, job: str) -> Path:
        """The folder of a job."""
        return self.folder / "jobs" / job

    @property
    def used(self) -> int:
        """Bytes of all files, each counted once however many names it has; a few seconds old."""
        with self._summing:
            if time.monotonic() - self._summed > _KNOWN_S:
                self._used, self._summed = folder_bytes(self.folder), time.monotonic()
            return self._used

    @property
    def free(self) -> int:
        """Bytes that may still be written: within the limit, and on the disk."""
        disk = shutil.disk_usage(self.folder).free - _SPARE
        return max(0, min(self.limit - self.used, disk))

    def require(self, count: int) -> None:
        """See that so many bytes may be written, and count them.

        Raises:
            FullError: there is less room.
        """
        free = self.free
        if count > free:
            raise FullError(
                f"{size(count)} do not fit: the workspace holds {size(self.used)} of the {size(self.limit)} that it "
                f"may, and {size(free)} are left. Delete datasets or jobs, or start the service with a larger "
                "--disk-limit-gb."
            )
        with self._summing:
            self._used += count

    def count_again(self) -> None:
        """Much was deleted: sum all files when somebody asks next."""
        with self._summing:
            self._summed = -_KNOWN_S

    def close(self) -> None:
        """Let others have it."""
        self.database.close()
        self._context.close()


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder and below it, each counted once however many names it has."""
    seen: set[tuple[int, int]] = set()
    total, waiting = 0, [str(folder)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                        continue
                    status = entry.stat(follow_symlinks=False)
                    key = (status.st_dev, status.st_ino)
                    if status.st_nlink == 1 or key not in seen:
                        seen.add(key)
                        total += status.st_size
    return total


def new_id() -> str:
    """An id that nobody else has: 16 hexadecimal digits."""
    return secrets.token_hex(8)
