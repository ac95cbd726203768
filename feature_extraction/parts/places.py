"""Where parts are committed: a folder of this machine or a network's."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from feature_extraction.part_files import WORK
from feature_extraction.stores.opening import is_address
from feature_extraction.stores.places import StoredFolder
from models.errors import OutputError
from models.files import disk_error, sync_folder

_ADVICE = (
    "What is committed is kept: free some space, or check that the place is yours, and run the command again."
)

# How file systems say that they have no hard links.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


class Place(Protocol):
    """Files by name, with slashes: all that parts need of a folder, so that an object store can be one.

    Other processes write there at the same time. `str(place)` is what a user calls it. It can be pickled.
    """

    def open(self, name: str) -> BinaryIO:
        """A file to be read; `FileNotFoundError` where there is none."""

    def size(self, name: str) -> int | None:
        """The bytes of a file; None where there is none."""

    def create(self, name: str, pieces: Iterable[bytes]) -> bool:
        """Write a file that is there whole or not at all; False, and nothing is changed, where one is there already."""

    def replace(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write a file whole, over one that may be there. Used by the merge alone."""

    def names(self, folder: str) -> Iterator[str]:
        """The names of the files in a folder, without it; nothing where there is none."""

    def remove(self, name: str) -> None:
        """Remove a file, or an empty folder where there are folders; one that is gone already is none the worse."""


@dataclass(frozen=True)
class Folder:
    """A folder on a disk, or on a file system that several machines share."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def open(self, name: str) -> BinaryIO:
        """See `Place`."""
        with self._explained(name):
            return (self.path / name).open("rb")

    def size(self, name: str) -> int | None:
        """See `Place`."""
        with suppress(FileNotFoundError), self._explained(name):
            return (self.path / name).stat().st_size
        return None

    def create(self, name: str, pieces: Iterable[bytes]) -> bool:
        """See `Place`; also after the power has failed.

        Raises:
            OutputError: the disk is full or the folder is not writable.
        """
        with self._written(name, pieces) as temporary:
            return temporary is not None and _named(temporary, self.path / name)

    def replace(self, name: str, pieces: Iterable[bytes]) -> None:
        """See `Place`.

        Raises:
            OutputError: the disk is full or the folder is not writable.
        """
        with self._written(name, pieces, over=True) as temporary:
            assert temporary is not None
            os.replace(temporary, self.path / name)

    def names(self, folder: str) -> Iterator[str]:
        """See `Place`."""
        with suppress(FileNotFoundError), os.scandir(self.path / folder) as listing:
            for entry in listing:
                if entry.is_file():
                    yield entry.name

    def remove(self, name: str) -> None:
        """See `Place`.

        Raises:
            OutputError: the folder is not writable.
        """
        target = self.path / name
        with self._explained(name):
            if target.is_dir():
                target.rmdir()
            else:
                target.unlink(missing_ok=True)

    @contextmanager
    def _written(self, name: str, pieces: Iterable[bytes], *, over: bool = False) -> Iterator[Path | None]:
        """A file with what is to be called `name`, on the disk, to be given that name; None where one is there."""
        # Among the parts' own files, which the merge removes: those of killed processes go with them.
        temporary = self.path / WORK / f"{secrets.token_hex(8)}.tmp"
        with self._explained(name):
            if not over and (self.path / name).exists():
                yield None
                return
            temporary.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("xb") as stream:
                    for piece in pieces:
                        stream.write(piece)
                    stream.flush()
                    os.fsync(stream.fileno())
                yield temporary
            finally:
                temporary.unlink(missing_ok=True)
            sync_folder((self.path / name).parent)

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as exc:
            above = next(folder for folder in (self.path, *self.path.absolute().parents) if folder.exists())
            raise OutputError(f"{self.path / name}: {disk_error(exc, above / name, _ADVICE)}") from exc


def open_place(name: str | Path) -> Place:
    """The place that a user calls so: a folder, or an address in a store."""
    return StoredFolder(str(name)) if is_address(str(name)) else Folder(Path(name))


def read(place: Place, name: str) -> bytes | None:
    """All of a file; None where there is none."""
    try:
        with place.open(name) as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def _named(temporary: Path, target: Path) -> bool:
    """Give a finished file its name; False where that is taken: `rename` alone would take it from the other."""
    try:
        if os.name == "nt":
            temporary.rename(target)  # which refuses there
        else:
            os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        # Two that come here at once have the same bytes, unless they disagree; then the later one stays unnoticed.
        if target.exists():
            return False
        temporary.rename(target)
    return True
