"""Images that have not been read yet, and how their bytes are fetched from files and streams."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import GraftError, ImageError
from models.image_kinds import ENDINGS
from models.wording import listed

MAX_BYTES = 512 << 20  # of one encoded image: more than the largest that is decoded has without compression

# What systems and programs leave between photos, in lower case: never a class and never an image.
_JUNK = frozenset((
    "__macosx", ".ds_store", ".appledouble", ".spotlight-v100", ".trashes", "icon\r",
    "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", ".picasa.ini",
    "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "lost+found",
    ".ipynb_checkpoints", "__pycache__", ".git", ".cache",
))  # fmt: skip
_KINDS = 50  # endings that are told apart
_UNPAIRED = re.compile("[\ud800-\udfff]")  # how Python writes such bytes, or what JSON smuggles in

Content = bytes | Image.Image | NDArray[np.uint8]  # an encoded image, or one that is decoded already


@dataclass(frozen=True)
class ImageItem:
    """One image that has not been read yet: a name that is unique in its source, and a way to its content.

    Those that sources give can be pickled, so that other processes and machines read them.
    """

    id: str
    read: Callable[[], Content] = field(repr=False, compare=False)


@dataclass
class Tally:
    """What a source has passed over so far."""

    ignored: int = 0  # files that are no images by their endings, hidden ones, and hidden folders
    # Of these, by ending; "hidden", "without ending" and "folder .name" among them.
    endings: Counter[str] = field(default_factory=Counter)
    # To folders that are read under their own names; a sentence each.
    links: list[str] = field(default_factory=list)

    def add(self, ending: str) -> None:
        """Count one that is passed over."""
        self.ignored += 1
        self.endings[ending if ending in self.endings or len(self.endings) < _KINDS else "others"] += 1

    def words(self) -> str:
        """ "12 other files (10 .txt, 2 hidden)", "" where there are none."""
        return passed_over(self.ignored, self.endings)


def passed_over(files: int, endings: Mapping[str, int]) -> str:
    """ "12 other files (10 .txt, 2 hidden)", "" where there are none."""
    if not files:
        return ""
    kinds = listed([f"{number:,} {ending}" for ending, number in Counter(endings).most_common()])
    return f"{files:,} other {'file' if files == 1 else 'files'}" + (f" ({kinds})" if kinds else "")


def is_image(name: str, tally: Tally) -> bool:
    """Whether a file is an image by its ending; one that is not, or is hidden, is counted, and junk is not even that.

    Images of kinds that nothing here reads are images: they fail where they are read, and say what to do.
    """
    base = os.path.basename(name)
    if is_junk(base):
        return False
    ending = os.path.splitext(base)[1].lower()
    if base.startswith("."):
        tally.add("hidden")
    elif ending in ENDINGS:
        return True
    else:
        tally.add(printable(ending) or "without ending")
    return False


def is_junk(name: str) -> bool:
    """Whether a file or folder is what a system or program leaves everywhere."""
    return name.startswith("._") or name.casefold() in _JUNK


def is_entered(folders: Sequence[str], tally: Tally) -> bool:
    """Whether images are looked for in a folder, by the names on the way to it; the last, if hidden, counts."""
    if any(is_junk(name) for name in folders):
        return False
    hidden = [name.startswith(".") and name != ".." for name in folders]
    if hidden and hidden[-1]:
        tally.add(f"folder {printable(folders[-1])}")
    return not any(hidden)


def printable(path: str) -> str:
    """A file name without bytes that are no UTF-8, and other signs that no stream would take."""
    return _UNPAIRED.sub("\N{REPLACEMENT CHARACTER}", path)


def file_item(path: str, name: str | None = None) -> ImageItem:
    """The image in a file, called by its path or by `name`."""
    return ImageItem(printable(name or path), partial(read_file, path))


def held_item(name: str, content: Content) -> ImageItem:
    """An image whose content is there already."""
    return ImageItem(name, partial(_held, content))


def failing_item(name: str, error: ImageError) -> ImageItem:
    """An image that cannot be read, for a known reason: it is reported where the others are read."""
    return ImageItem(name, partial(_fail, error))


def _held(content: Content) -> Content:
    return content


def _fail(error: ImageError) -> bytes:
    raise error


def read_item(item: ImageItem) -> Content:
    """The content of an item.

    Raises:
        ImageError: it cannot be read, whatever its source raises.
    """
    try:
        return item.read()
    except GraftError:
        raise
    except Exception as exc:  # sources may be anybody's
        raise ImageError(
            f"{item.id}: cannot be read ({exc or type(exc).__name__}). Check the source."
        ) from exc


def read_file(path: str, *, special: bool = False) -> bytes:
    """The bytes of a file; `special` takes pipes and devices too, which may keep one waiting.

    Raises:
        ImageError: not there, not readable, no file, too large, or it changed while it was read.
    """
    name = printable(path)
    try:
        with open(path, "rb", opener=None if special else _at_once) as stream:
            before = os.fstat(stream.fileno())
            if not (special or stat.S_ISREG(before.st_mode)):
                raise ImageError(f"{name}: a pipe or a device; expected a file. Take it out of the source.")
            data = read_stream(stream, name)
            after = os.fstat(stream.fileno())
    except FileNotFoundError as exc:
        raise ImageError(f"{name}: no such file, or a link to nothing. Check the path.") from exc
    except OSError as exc:
        raise ImageError(f"{name}: cannot be read ({exc.strerror}). Check its permissions.") from exc
    except ValueError as exc:  # a zero byte, or a sign that the file system cannot write
        raise ImageError(f"{name!r}: no file can be called so ({exc}). Check the path.") from exc
    if stat.S_ISREG(before.st_mode):
        # The size too: coarse clocks give two writes the same time.
        stands = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
        if not stands or len(data) != after.st_size:
            raise ImageError(f"{name}: changed while it was read. Run again when nothing writes to it.")
    return data


def _at_once(path: str, flags: int) -> int:
    """Open a file without waiting for somebody to write into it, if it is a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_stream(stream: BinaryIO, name: str) -> bytes:
    """All that a stream holds.

    Raises:
        ImageError: more than any image has.
    """
    # One byte more than allowed tells a file of the largest size from /dev/zero.
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ImageError(too_large(name))
    return data


def too_large(name: str) -> str:
    """The message for a file that is larger than any image."""
    return f"{name}: larger than {MAX_BYTES >> 20} MiB; no image is that large. Make the image smaller first."
