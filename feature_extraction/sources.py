"""Where images come from: files, folders, globs, zip archives and standard input.

A source is any iterable of `ImageItem`. Nothing is read before `item.read()`, so that a million files cost no
more than their names, and the order depends on the names alone. Zip archives are read where they lie: a member
called `../../etc/passwd` is only a name here, never a path.
"""

from __future__ import annotations

import glob
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from models.errors import ImageError, SourceError

# fmt: off
SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".ico", ".mpo",
))
# fmt: on
MAX_BYTES = 512 << 20  # of one encoded image: more than the largest that is decoded has without compression
SPLITS = ("train", "val", "test")
STDIN = "-"


@dataclass(frozen=True)
class ImageItem:
    """One image that has not been read yet: a name that is unique in its source, and a way to its bytes."""

    id: str
    read: Callable[[], bytes] = field(repr=False, compare=False)


Entry = tuple[tuple[str, ...], ImageItem]  # the parts of the path below the source, and the image


@dataclass
class Tally:
    """What a source has passed over so far."""

    ignored: int = 0  # files that are no images by their suffix, and hidden ones


def images(spec: str, tally: Tally | None = None) -> Iterator[ImageItem]:
    """The images of a file, a folder (with all below it), a glob, a zip archive, or `-` for standard input.

    A file that is named outright is taken whatever its suffix; what a folder, glob or archive holds is taken by
    suffix, and the rest is counted in `tally`.

    Raises:
        SourceError: nothing is there, or no image is in it.
    """
    tally = tally if tally is not None else Tally()
    if spec == STDIN:
        yield _standard_input()
        return
    found = 0
    for item in _expand(spec, tally):
        found += 1
        yield item
    if not found:
        raise SourceError(_nothing(spec, tally))


def labelled(
    spec: str, split: str | None = None, tally: Tally | None = None
) -> Iterator[tuple[ImageItem, str]]:
    """The images of a folder or zip archive with a folder for each class, each with the name of its folder.

    `split` chooses a folder above the classes: `photos/val/cat/1.jpg`.

    Raises:
        SourceError: no such folder or archive, no such split, or no image in a folder of a class.
    """
    tally = tally if tally is not None else Tally()
    root = Path(spec)
    if not root.is_dir() and not is_archive(root):
        kind = "a file that is no zip archive" if root.exists() else "not there"
        raise SourceError(
            f"{spec}: {kind}; expected a folder or .zip with one folder of images for each class."
        )
    entries = _folder(root, tally) if root.is_dir() else _unwrapped(_archive(root, tally), split)
    seen: set[str] = set()
    found = 0
    for parts, item in entries:
        seen.add(parts[0])
        if split is not None and parts[0] != split:
            continue
        inner = parts if split is None else parts[1:]
        if split is None and parts[0] in SPLITS and len(parts) > 2:
            raise SourceError(
                f"{spec}: {parts[0]!r} is no class but a split. Choose it with --split {parts[0]}."
            )
        if len(inner) < 2:  # an image that lies outside the classes' folders
            tally.ignored += 1
            continue
        found += 1
        yield item, inner[0]
    if not found:
        where = spec if split is None else f"{spec}, split {split!r}"
        there = ", ".join(sorted(seen)[:5]) or "no image at all"
        raise SourceError(
            f"{where}: no folder of images in it; found {there}. Expected one folder for each class."
        )


def is_archive(path: Path) -> bool:
    """Whether a path is a zip archive, by its name."""
    return path.suffix.lower() == ".zip" and path.is_file()


def printable(path: str) -> str:
    """A file name without bytes that are no UTF-8, which no stream would take."""
    return os.fsencode(path).decode("utf-8", "replace")


def _expand(spec: str, tally: Tally) -> Iterator[ImageItem]:
    path = Path(spec)
    if path.is_dir():
        yield from (item for _, item in _folder(path, tally))
    elif is_archive(path):
        yield from (item for _, item in _archive(path, tally))
    elif os.path.lexists(path):
        yield _file(spec)
    elif glob.has_magic(spec):  # shells of Windows leave globs to the program
        for name in sorted(glob.glob(spec, recursive=True)):
            if Path(name).is_dir() and "**" in spec:
                continue  # its files are matches themselves
            if Path(name).is_dir() or is_archive(Path(name)) or _is_image(name, tally):
                yield from _expand(name, tally)


def _folder(root: Path, tally: Tally) -> Iterator[Entry]:
    """Images below `root`, in the order of their names.

    Each folder is entered once, whatever links lead to it: links that go round in circles end there.
    """
    entered: set[tuple[int, int]] = set()

    def walk(folder: str, parts: tuple[str, ...]) -> Iterator[Entry]:
        try:
            info = os.stat(folder)
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as exc:
            yield parts, ImageItem(printable(folder), partial(_unlisted, folder, exc))
            return
        if (info.st_dev, info.st_ino) in entered:
            return
        entered.add((info.st_dev, info.st_ino))
        for entry in entries:
            if entry.is_dir():
                if not entry.name.startswith("."):
                    yield from walk(entry.path, (*parts, entry.name))
            elif _is_image(entry.name, tally):
                yield (*parts, entry.name), _file(entry.path)

    return walk(str(root), ())


def _archive(path: Path, tally: Tally) -> Iterator[Entry]:
    """Images in a zip archive, in the order of their names."""
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as exc:
        raise SourceError(
            f"{path}: not a zip archive that can be read ({exc}). Copy or download it again."
        ) from exc
    # The archive stays open as long as an item of it is held; zipfile may be read from several threads.
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        parts = tuple(part for part in info.filename.replace("\\", "/").split("/") if part)
        if parts and not info.is_dir() and parts[0] != "__MACOSX" and _is_image(parts[-1], tally):
            yield parts, ImageItem(f"{path}/{'/'.join(parts)}", partial(_read_member, archive, info))


def _unwrapped(entries: Iterator[Entry], split: str | None) -> Iterator[Entry]:
    """Take off the one folder that holds all the others in most archives of a folder."""
    known = list(entries)
    tops = {parts[0] for parts, _ in known}
    wrapped = len(tops) == 1 and split not in tops and all(len(parts) > 2 for parts, _ in known)
    return ((parts[1:], item) for parts, item in known) if wrapped else iter(known)


def _is_image(name: str, tally: Tally) -> bool:
    base = os.path.basename(name)
    if not base.startswith(".") and os.path.splitext(base)[1].lower() in SUFFIXES:
        return True
    tally.ignored += 1
    return False


def _file(path: str) -> ImageItem:
    return ImageItem(printable(path), partial(_read_file, path))


def _standard_input() -> ImageItem:
    if sys.stdin is None or sys.stdin.isatty():
        raise SourceError(
            "-: standard input is a terminal; expected an image. Try: graft classify - < photo.jpg"
        )
    return ImageItem(STDIN, partial(_read_stream, sys.stdin.buffer, "standard input"))


def _read_file(path: str) -> bytes:
    name = printable(path)
    try:
        with open(path, "rb") as stream:
            return _read_stream(stream, name)
    except FileNotFoundError as exc:
        raise ImageError(f"{name}: no such file, or a link to nothing. Check the path.") from exc
    except OSError as exc:
        raise ImageError(f"{name}: cannot be read ({exc.strerror}). Check its permissions.") from exc


def _unlisted(folder: str, exc: OSError) -> bytes:
    raise ImageError(
        f"{printable(folder)}: cannot be listed ({exc.strerror}). Check its permissions."
    ) from exc


def _read_stream(stream: BinaryIO, name: str) -> bytes:
    # One byte more than allowed tells a file of the largest size from /dev/zero.
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ImageError(_too_large(name))
    return data


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    name = f"{archive.filename}/{info.filename}"
    if info.file_size > MAX_BYTES:  # zipfile unpacks no more than a member declares
        raise ImageError(_too_large(name))
    try:
        return archive.read(info)
    except Exception as exc:  # a wrong password, a wrong checksum, an unknown method: all different
        raise ImageError(f"{name}: cannot be unpacked ({exc}). Make the archive again.") from exc


def _too_large(name: str) -> str:
    return f"{name}: larger than {MAX_BYTES >> 20} MiB; no image is that large. Make the image smaller first."


def _nothing(spec: str, tally: Tally) -> str:
    if Path(spec).is_dir() or is_archive(Path(spec)):
        return f"{spec}: no images in it ({tally.ignored} other files); expected files such as .jpg, .png or .webp."
    if glob.has_magic(spec):
        return f"{spec}: no image matches. Check the pattern; ** goes into folders."
    return f"{spec}: no such file or folder. Check the path."
