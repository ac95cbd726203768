"""A folder of features, written part by part, so that a run that was ended anywhere goes on from there.

Each part covers the same number of images of the source. Its files are written under another name, brought to the
disk and renamed; then the manifest gets its line. What is in the manifest is whole; what is not is written again,
with the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from feature_extraction import unfinished
from feature_extraction.folder_lock import locked
from feature_extraction.formats import Format
from feature_extraction.items import ImageItem
from feature_extraction.manifest import NAME, Manifest, begun
from feature_extraction.part_files import (
    FAILED,
    INDEX,
    INDEX_HEAD,
    PLAN,
    encoded_part,
    failure_lines,
    index_rows,
)
from feature_extraction.worker import Vectors
from models.errors import OutputError
from models.files import disk_error, write_atomically
from models.runtime import Array

_ADVICE = (
    "The finished parts are kept: free some space, or check that the folder is yours, and run the command again with "
    "--resume."
)
_OURS = re.compile(rf"part-[a-z]?(\d{{5,}})\..+|{re.escape(INDEX)}|{re.escape(FAILED)}")  # names of files


def has_parts(path: Path) -> bool:
    """Whether a manifest stands in a folder that lists more than settings: only then is there anything to lose."""
    try:
        with (path / NAME).open("rb") as stream:
            return stream.readline().endswith(b"\n") and bool(stream.readline())
    except FileNotFoundError:
        return False


class OutputFolder:
    """Use as a context: the folder is locked in it."""

    def __init__(
        self, path: Path, blank: Mapping[str, Array], settings: Mapping[str, Any], *, resume: bool = False
    ) -> None:
        """Prepare a folder for features like `blank`.

        `settings` are written into the manifest; with other ones nothing is resumed. Two of them are obeyed here:
        `format`, and `part_items`, the images of the source that a part covers, a multiple of the batch size.
        """
        self.path, self._blank, self._settings, self._resume = path, blank, settings, resume
        self._form: Format = settings["format"]
        self._part_items: int = settings["part_items"]
        self._waiting: list[Vectors] = []
        self._context = ExitStack()

    def __enter__(self) -> Self:
        """Lock the folder and read or begin its manifest.

        Raises:
            OutputError: another process writes there, it holds features already, other ones than these, or files
                of somebody's with names that are needed.
        """
        with _explained(self.path), ExitStack() as context:
            self.path.mkdir(parents=True, exist_ok=True)
            context.enter_context(locked(self.path))
            if (self.path / PLAN).exists():
                raise OutputError(
                    f"{self.path}: features are made in parts here. Go on with --part and --merge, or choose another "
                    "folder."
                )
            has_features = has_parts(self.path)
            if has_features and not self._resume:
                raise OutputError(
                    f"{self.path}: holds features already. Add --resume to go on with them, or choose another folder."
                )
            if not has_features and not begun(self.path):
                self._refuse_others()
            begin = Manifest.resume if has_features else Manifest.begin
            self.manifest = begin(self.path, self._settings)
            self._remove_unfinished()
            before = (
                unfinished.kept(self.path, self._blank, self._settings, self.manifest.parts)
                if self._resume
                else None
            )
            self._waiting = [before] if before is not None else []
            self._context = context.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what Ctrl-C ended in the middle of a part, and let others in."""
        if isinstance(error, KeyboardInterrupt) and self._waiting:
            with suppress(OutputError):  # the finished parts stay all the same
                unfinished.keep(self.path, self._waiting, self._settings, self.manifest.parts)
        self._context.close()

    @property
    def done(self) -> int:
        """How many images are done, those that cannot be read among them."""
        return self.manifest.items + self._waiting_items

    @property
    def failed(self) -> int:
        """How many of these cannot be read."""
        return self.manifest.failed + sum(len(batch.failures) for batch in self._waiting)

    @property
    def _waiting_items(self) -> int:
        return sum(len(batch.names) for batch in self._waiting)

    def rest(self, items: Iterable[ImageItem]) -> Iterator[ImageItem]:
        """The images that are not done yet.

        Raises:
            OutputError: the source has changed since the folder was begun.
        """
        stream = iter(items)
        self.manifest.skip(stream)
        names = [name for batch in self._waiting for name in batch.names]
        passed = list(islice(stream, len(names)))
        if [item.id for item in passed] == names:
            return stream
        self._waiting = []  # other images now: they are computed
        return chain(passed, stream)

    def write(self, vectors: Vectors) -> None:
        """Take features in the order of the source; each full part goes to the disk.

        Raises:
            OutputError: the disk is full or the folder not writable. The parts before stay.
        """
        self._waiting.append(vectors)
        if self._waiting_items >= self._part_items:
            self._flush()

    def finish(self) -> None:
        """Write the last part, the index and the report of failures.

        Raises:
            OutputError: as `write`.
        """
        if self._waiting:
            self._flush()
        if self.manifest.complete:
            return
        with _explained(self.path):
            if self.manifest.failed:
                write_atomically(self.path / FAILED, failure_lines(self.manifest.each_part()), advice=_ADVICE)
            if self._form == "npy":
                write_atomically(self.path / INDEX, self._index(), advice=_ADVICE)
            self.manifest.finish()

    def _flush(self) -> None:
        batches, self._waiting = self._waiting, []
        files, part = encoded_part(self._form, self.manifest.parts, self._blank, batches)
        with _explained(self.path):
            for name, data in files.items():
                write_atomically(self.path / name, data, advice=_ADVICE)
            self.manifest.add(part)
            (self.path / unfinished.NAME).unlink(missing_ok=True)

    def _refuse_others(self) -> None:
        """See that nothing would be overwritten in a folder without a manifest."""
        taken = sorted(
            file.name for file in self.path.iterdir() if file.name == NAME or _OURS.fullmatch(file.name)
        )
        if taken:
            raise OutputError(
                f"{self.path}: holds {taken[0]}, but no manifest of features; expected a folder that is new, or that "
                "an extraction has begun. Choose another one, or move the file."
            )

    def _remove_unfinished(self) -> None:
        """Remove what a killed process left: files under another name, and those of parts that are not in the manifest.

        With other settings parts have other names.
        """
        for file in list(self.path.iterdir()):
            half = file.name.startswith(".")
            match = _OURS.fullmatch(file.name[1:].rpartition(".")[0] if half else file.name)
            if match and (half or (match[1] and int(match[1]) >= self.manifest.parts)):
                file.unlink()

    def _index(self) -> Iterator[bytes]:
        yield INDEX_HEAD
        for part in self.manifest.each_part():
            yield index_rows(part, lambda name: (self.path / name).read_bytes())


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Translate what the disk says."""
    try:
        yield
    except OSError as exc:
        raise OutputError(f"{folder}: {disk_error(exc, folder / NAME, _ADVICE)}") from exc
