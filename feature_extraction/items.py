"""Images that have not been read yet, and how their bytes are fetched from files and streams."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import GraftError, ImageError

# fmt: off
SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".ico", ".mpo",
))
# fmt: on
MAX_BYTES = 512 << 20  # of one encoded image: more than the largest that is decoded has without compression

_UNPAIRED = re.compile("[\ud800-\udfff]")  # how Python writes such bytes, or what JSON smuggles in

Content = bytes | Image.Image | NDArray[np.uint8]  # an encoded image, or one that is decoded already


@dataclass(frozen=True)
class ImageItem:
    """One image that has not been read yet: a name that is unique in its source, and a way to its content."""

    id: str
    read: Callable[[], Content] = field(repr=False, compare=False)


@dataclass
class Tally:
    """What a source has passed over so far."""

    ignored: int = 0  # files that are no images by their suffix, and hidden ones


def is_image(name: str, tally: Tally) -> bool:
    """Whether a file is an image by its suffix; one that is not, or is hidden, is counted."""
    base = os.path.basename(name)
    if not base.startswith(".") and os.path.splitext(base)[1].lower() in SUFFIXES:
        return True
    tally.ignored += 1
    return False


def printable(path: str) -> str:
    """A file name without bytes that are no UTF-8, and other signs that no stream would take."""
    return _UNPAIRED.sub("\N{REPLACEMENT CHARACTER}", path)


def file_item(path: str, name: str | None = None) -> ImageItem:
    """The image in a file, called by its path or by `name`."""
    return ImageItem(printable(name or path), partial(read_file, path))


def failing_item(name: str, error: ImageError) -> ImageItem:
    """An image that cannot be read, for a known reason: it is reported where the others are read."""

    def fail() -> bytes:
        raise error

    return ImageItem(name, fail)


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
