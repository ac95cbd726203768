"""An image that is a file of a store."""

from __future__ import annotations

from functools import partial

from feature_extraction import items
from feature_extraction.items import ImageItem, printable, too_large
from feature_extraction.stores.objects import StoredFile
from models.errors import ImageError


def stored_item(file: StoredFile, name: str | None = None) -> ImageItem:
    """The image in a file, called by its address or by `name`."""
    return ImageItem(printable(name or file.url), partial(_read, file))


def address_item(url: str, name: str | None = None) -> ImageItem:
    """The image at an address of which nothing is known yet."""
    return ImageItem(printable(name or url), partial(_find, url))


def _find(url: str) -> bytes:
    try:
        file = StoredFile.seen(url)
    except OSError as exc:
        raise ImageError(f"{printable(url)}: cannot be read ({exc.strerror}). Check the address.") from exc
    return _read(file)


def _read(file: StoredFile) -> bytes:
    name = printable(file.url)
    if file.size > items.MAX_BYTES:
        raise ImageError(too_large(name))
    try:
        return file.read()
    except FileNotFoundError as exc:
        raise ImageError(
            f"{name}: it was there when it was listed, and is gone. Check who removes it."
        ) from exc
    except OSError as exc:
        raise ImageError(f"{name}: cannot be read ({exc.strerror}). Try again later.") from exc
