"""The images of an address in a store: a file, a folder, a pattern, numbered shards, a list or an archive."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from itertools import chain, dropwhile

from feature_extraction.archives import is_tar_name, is_zip_name, tar_members, zip_members
from feature_extraction.items import ImageItem, Tally, failing_item, is_entered, is_image, printable
from feature_extraction.lists import is_list_name, listed_images
from feature_extraction.parquet_images import is_parquet_name, parquet_images, row_of
from feature_extraction.shards import has_range, numbered, present
from feature_extraction.stored_items import stored_item
from feature_extraction.stores.listing import files_below, is_folder, matching
from feature_extraction.stores.objects import StoredFile
from feature_extraction.web_images import WebImages
from models.errors import ImageError, SourceError

_REMEMBERED = 10_000  # folders


def stored_images(url: str, tally: Tally, web: WebImages | None = None) -> Iterator[ImageItem]:
    """The images of an address, as `feature_extraction.sources.images` gives those of a path.

    Raises:
        SourceError: nothing is there, no image is in it, or the store refuses.
    """
    empty = True
    try:
        for item in _expand(url, tally, web):
            empty = False
            yield item
    except OSError as exc:
        raise SourceError(f"{printable(url)}: cannot be read ({exc.strerror}). Check the address.") from exc
    if empty:
        others = tally.words() or "nothing else either"
        raise SourceError(
            f"{printable(url)}: no images in it ({others}); expected files such as .jpg, .png or .webp."
        )


def stored_images_from(url: str, first: str) -> Iterator[ImageItem] | None:
    """The images of an address from the one called `first` on; see `feature_extraction.sources.images_from`."""
    root = url.rstrip("/") + "/"
    if has_range(url) and _seen(url) is None:
        names = dropwhile(lambda name: first != name and not first.startswith(f"{name}/"), numbered(url))
        return dropwhile(lambda item: item.id != first, _several(present(names, _seen), Tally()))
    if is_parquet_name(url) and (file := _seen(url)) and (row := row_of(file, first)) is not None:
        return parquet_images(file, row)
    if not first.startswith(root) or not _is_folder(url):
        return None
    here = _seen(first)
    begin = [stored_item(here)] if here else []
    return chain(begin, _folder(url, Tally(), first.removeprefix(root)))


def _is_folder(url: str) -> bool:
    try:
        return is_folder(url)
    except FileNotFoundError:
        return False


def _expand(url: str, tally: Tally, web: WebImages | None) -> Iterator[ImageItem]:
    try:
        file = StoredFile.seen(url)
    except IsADirectoryError:
        yield from _folder(url, tally)
        return
    except FileNotFoundError:
        if has_range(url):
            yield from _several(present(numbered(url), _seen), tally)
        elif glob.has_magic(url):
            # With ** the files of a folder are matches themselves.
            matches = (file or folder for folder, file in matching(url) if file or "**" not in url)
            yield from _several(matches, tally)
        else:
            raise
        return
    yield from _inside(file, tally, web)


def _inside(file: StoredFile, tally: Tally, web: WebImages | None = None) -> Iterator[ImageItem]:
    """The images of a file that is named outright."""
    if is_zip_name(file.name):
        yield from (item for _, item in zip_members(file, tally))
    elif is_tar_name(file.name):
        yield from (item for _, item in tar_members(file, tally))
    elif is_parquet_name(file.name):
        yield from parquet_images(file)
    elif is_list_name(file.name):
        yield from listed_images(file, web)
    else:
        yield stored_item(file)


def _seen(url: str) -> StoredFile | None:
    try:
        return StoredFile.seen(url)
    except (FileNotFoundError, IsADirectoryError):
        return None


def _several(sources: Iterable[StoredFile | str | ImageItem], tally: Tally) -> Iterator[ImageItem]:
    """The images of several files and folders; one that cannot be opened is a failure among the others."""
    for source in sources:
        if isinstance(source, ImageItem):
            yield source
            continue
        if isinstance(source, str):
            yield from _folder(source, tally)
            continue
        if not (is_zip_name(source.name) or is_tar_name(source.name) or is_parquet_name(source.name)):
            if is_image(source.name, tally):
                yield stored_item(source)
            continue
        try:
            yield from _inside(source, tally)
        except (SourceError, OSError) as exc:
            name = printable(source.url)
            reason = f"{name}: cannot be read ({exc.strerror})." if isinstance(exc, OSError) else str(exc)
            yield failing_item(name, ImageError(reason))


def _folder(url: str, tally: Tally, behind: str = "") -> Iterator[ImageItem]:
    entered = lru_cache(_REMEMBERED)(partial(is_entered, tally=tally))
    for parts, file in files_below(url, behind):
        if entered(parts[:-1]) and is_image(parts[-1], tally):
            yield stored_item(file)
