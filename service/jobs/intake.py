"""Datasets that come as a whole: a zip archive of class folders, or a folder of this machine."""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from feature_extraction.archives import is_archive, opened_zip
from feature_extraction.items import read_item
from feature_extraction.ordered import ordered_map
from finetune.dataset.examples import Dataset, Example
from finetune.dataset.opening import open_dataset
from finetune.job.cautions import left_out
from models.cores import cores
from models.errors import GraftError, ImageError, InputError, SourceError
from models.wording import listed, size
from service.jobs.datasets import CLASSES_MOST, Datasets
from service.jobs.images import IMAGES_MOST, Images
from service.jobs.photos import Photo, read_photo, short_name

ENTRIES_MOST = 300_000  # of an archive
_AHEAD = 2  # photos that wait for each thread
_END = 22 + 65_535  # bytes at the end of an archive in which its directory is described
_LINK = 0o120000
_SWOLLEN = 100  # times its own size that an archive of photos may hold: they hardly get smaller


class Intake:
    """Takes whole datasets in: all of one, or nothing."""

    def __init__(
        self,
        datasets: Datasets,
        images: Images,
        most_pixels: Callable[[], int],
        most_bytes: Callable[[], int],
    ) -> None:
        """`most_pixels` and `most_bytes` give what one photo may have at that moment."""
        self._datasets, self._images, self._most_pixels, self._most_bytes = (
            datasets,
            images,
            most_pixels,
            most_bytes,
        )

    def archive(self, file: Path, name: str) -> str:
        """Take in a zip archive that lies at `file`. Returns the id of the dataset.

        Raises:
            InputError: it is no archive, climbs out, is too much, or holds no classes.
            FullError: there is no room for it.
        """
        check_archive(file)
        opened = _opened(file, "the archive")
        return self._taken(opened, name, lambda example: None)

    def folder(self, path: str, roots: Sequence[str], name: str) -> str:
        """Take in a folder (or archive) of this machine below one of `roots`; its photos stay where they are.

        Raises:
            InputError: it lies elsewhere, or holds no classes.
        """
        folder, root = _allowed(path, roots)
        if is_archive(folder):
            return self.archive(folder, name or folder.stem)
        opened = _opened(folder, path)

        def place(example: Example) -> Path:
            file = Path(example.item.id)
            if not file.resolve().is_relative_to(root):
                raise ImageError(f"{file.name}: a link that leads out of the folder. Copy the photo into it.")
            return file.absolute()

        return self._taken(opened, name or folder.name, place)

    def _taken(self, opened: Dataset, name: str, place: Callable[[Example], Path | None]) -> str:
        if len(opened.classes) > CLASSES_MOST:
            raise InputError(
                f"{len(opened.classes):,} classes; at most {CLASSES_MOST:,} are taught here. Each folder at the top "
                "is a class: look whether they lie one level too high. For more, use the command line: graft "
                "finetune FOLDER"
            )
        if len(opened.examples) > IMAGES_MOST:
            raise InputError(
                f"{len(opened.examples):,} images; at most {IMAGES_MOST:,} are taught here. For more, use the command "
                "line: graft finetune FOLDER"
            )
        datasets = self._datasets
        dataset = datasets.create(name, ready=False)
        try:
            ids = {label: datasets.class_id(dataset, label, make=True) for label in opened.classes}
            failed: list[tuple[str, str]] = []  # names, and why each cannot be read
            look = partial(self._read, place)
            photos = ordered_map(
                look, opened.examples, threads=cores(), ahead=cores() * _AHEAD, name="graft-intake"
            )
            for example, (photo, file) in zip(opened.examples, photos, strict=True):
                if isinstance(photo, str):
                    failed.append((example.name or example.item.id, photo))
                    continue
                self._images.add(dataset, ids[example.label], photo, split=example.split, elsewhere=file)
            if len(failed) == len(opened.examples):
                first, reason = failed[0]
                raise InputError(
                    f"not one of {len(failed):,} images can be read. The first: {first}: {reason}"
                )
            for sentence in left_out(failed):
                datasets.remark(dataset, "unreadable", sentence)
            for sentence in opened.warnings():
                datasets.remark(dataset, "layout", sentence)
            datasets.finish(dataset)
        except BaseException:
            datasets.delete(dataset)
            raise
        return dataset

    def _read(
        self, place: Callable[[Example], Path | None], example: Example
    ) -> tuple[Photo | str, Path | None]:
        """A photo and where its file stays, or why it cannot be read: without its name, as others may share it."""
        name = example.name or example.item.id
        try:
            file = place(example)
            data = read_item(example.item)
            if not isinstance(data, bytes):
                raise ImageError(
                    "pixels in a file of many; photos are taught here. Use: graft finetune FOLDER"
                )
            if len(data) > self._most_bytes():
                raise ImageError(
                    f"{size(len(data))}; a photo of at most {size(self._most_bytes())} is taken."
                )
            return read_photo(name, data, self._most_pixels()), file
        except GraftError as exc:
            reason = str(exc).removeprefix(f"{example.item.id}: ").removeprefix(f"{short_name(name)}: ")
            return reason, None


def _opened(path: Path, called: str) -> Dataset:
    """The labelled images of an upload; errors call it as its sender does."""
    try:
        opened = open_dataset(path)
    except GraftError as exc:
        raise SourceError(str(exc).replace(str(path), called)) from exc
    notes, stray = (
        tuple(text.replace(str(path), called) for text in texts) for texts in (opened.notes, opened.stray)
    )
    return replace(opened, source=called, notes=notes, stray=stray)


def _allowed(path: str, roots: Sequence[str]) -> tuple[Path, Path]:
    """The folder that is named, and the root it lies below, wherever links lead.

    Raises:
        InputError: there is none. Whether one lies outside is not told.
    """
    if not roots:
        raise InputError(
            "no folder of this machine may be taught from. Start the service with --datasets-root FOLDER, or send the "
            "photos."
        )
    for given in roots:
        root = Path(given).resolve()
        try:
            folder = (root / path).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):  # nothing there, a loop of links, a NUL
            continue
        if folder.is_relative_to(root) and (folder.is_dir() or is_archive(folder)):
            return folder, root
    raise InputError(
        f"{path[:200]!r} is no folder and no zip archive below {listed(list(map(str, roots)))}; expected its path "
        "there."
    )


def check_archive(file: Path) -> None:
    """Refuse an archive for what its directory says, before anything is unpacked.

    Raises:
        InputError: no zip archive, too many entries, or names that lead out of it.
    """
    count = _entries(file)
    if count > ENTRIES_MOST:
        raise InputError(
            f"the archive has {count:,} entries; at most {ENTRIES_MOST:,} are looked at. Send less at a time."
        )
    try:
        with opened_zip(file) as archive:
            infos = archive.infolist()
    except SourceError as exc:
        raise InputError(
            f"the archive cannot be read as a zip ({exc.__cause__}). Make it again, and send all of it."
        ) from exc
    for info in infos:
        name = info.filename.replace("\\", "/")
        if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
            raise InputError(
                f"the archive holds {info.filename[:100]!r}, a path that leads out of it. Nothing of it was taken; "
                "make an archive of the folder itself."
            )
        if stat.S_IFMT(info.external_attr >> 16) == _LINK:
            raise InputError(
                f"the archive holds {info.filename[:100]!r}, a link. Nothing of it was taken; put the photo itself "
                "there."
            )
    packed, unpacked = sum(info.compress_size for info in infos), sum(info.file_size for info in infos)
    if packed > file.stat().st_size or unpacked > _SWOLLEN * max(1, file.stat().st_size):
        raise InputError(
            f"the archive has {size(file.stat().st_size)} and says that it holds {size(unpacked)}: no archive of "
            "photos is packed like that. Nothing of it was taken."
        )


def _entries(file: Path) -> int:
    """How many entries the end of a zip archive tells of, before any of them is read.

    Source: PKWARE's APPNOTE.TXT, 4.3.14 and 4.3.16.
    """
    with file.open("rb") as stream:
        stream.seek(0, 2)
        length = stream.tell()
        stream.seek(max(0, length - _END))
        tail = stream.read()
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) < place + 22:
        raise InputError(
            "the body is no zip archive, or its end is missing. Make it again, and send all of it."
        )
    count: int = struct.unpack("<H", tail[place + 10 : place + 12])[0]
    directory: int = struct.unpack("<I", tail[place + 12 : place + 16])[0]
    if count == 0xFFFF or directory == 0xFFFFFFFF:
        large = tail.rfind(b"PK\6\6", 0, place)
        if large >= 0 and len(tail) >= large + 48:
            count, directory = struct.unpack("<QQ", tail[large + 32 : large + 48])
    return max(count, directory // 46 if directory < length else count)  # 46: the shortest entry
