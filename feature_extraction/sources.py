"""Where images come from: files, folders, globs, lists, zip and tar archives, and standard input.

A source is any iterable of `ImageItem`. Nothing is read before `item.read()`, so that a million files cost no
more than their names, and the order is the same every time.
"""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import dropwhile
from pathlib import Path

from feature_extraction.archives import Entry, is_archive, is_tar, is_tar_name, tar_members, zip_members
from feature_extraction.items import (
    MAX_BYTES,
    ImageItem,
    Tally,
    failing_item,
    file_item,
    held_item,
    is_entered,
    is_image,
    is_junk,
    printable,
    read_file,
    read_stream,
)
from feature_extraction.lists import is_list, listed_images
from feature_extraction.packed_tar import unpacked_tar_members
from feature_extraction.parquet_images import is_parquet, parquet_images, row_count, row_of
from feature_extraction.shards import has_range, numbered, on_disk, present
from feature_extraction.stored_images import stored_images, stored_images_from
from feature_extraction.stores.opening import is_address
from feature_extraction.videos import video_frames, video_named
from feature_extraction.web_images import WebImages
from models.errors import ImageError, SourceError

STDIN = "-"


def images(spec: str, tally: Tally | None = None, web: WebImages | None = None) -> Iterator[ImageItem]:
    """The images of a file, a folder (with all below it), a glob, a list, an archive, or `-` for standard input.

    A file that is named outright is taken whatever its suffix, unless that is the suffix of a list, an archive or a
    video; what a folder, glob or archive holds is taken by suffix, and the rest is counted in `tally`. Numbered shards
    may be named together: `shards/{000..127}.tar`. A video gives its frames, all or every n-th: `film.mp4[::25]`. What
    a list names by its address is fetched as `web` allows.

    Raises:
        SourceError: nothing is there, or no image is in it.
    """
    tally = tally if tally is not None else Tally()
    if spec == STDIN:
        yield _standard_input()
        return
    if not spec:  # an unset variable of a shell, not the folder where it happens to be
        raise SourceError("a path is empty; expected a file, a folder or a glob. Check how it was written.")
    if is_address(spec):
        yield from stored_images(spec, tally, web)
        return
    empty = True
    for item in _expand(spec, tally, web):
        empty = False
        yield item
    if empty:
        raise SourceError(_nothing(spec, tally))


def images_from(spec: str, first: str) -> Iterator[ImageItem] | None:
    """The images of a source from the one called `first` on, without what lies before it being listed.

    None where that would have to be listed all the same. Names may deceive, where one stands in a source twice or was
    not printable: compare what comes.
    """
    if is_address(spec):
        return stored_images_from(spec, first)
    path = Path(spec)
    if os.path.isdir(spec):
        below = first.removeprefix(str(path)).strip(os.sep).split(os.sep)
        return (item for _, item in _folder(path, Tally(), begin=tuple(below)))
    if is_parquet(path) and (row := row_of(path, first)) is not None:
        return parquet_images(path, row)
    if has_range(spec) and not os.path.lexists(spec):
        names = dropwhile(lambda name: first != name and not first.startswith(f"{name}/"), numbered(spec))
        return dropwhile(lambda item: item.id != first, _several(present(names, on_disk), Tally()))
    return None


def is_stream(spec: str) -> bool:
    """Whether a source is standard input, a pipe or a device: read once, by whoever lists it, and perhaps silent."""
    return spec == STDIN or (os.path.exists(spec) and not os.path.isdir(spec) and not os.path.isfile(spec))


def image_count(spec: str) -> int | None:
    """How many images a source gives, or None where counting would cost more than names, or use it up."""
    path = Path(spec)
    names = os.path.isdir(spec) or is_archive(path) or is_list(path) or os.path.isfile(spec)
    if not names or is_tar(path) or video_named(spec):
        return None
    try:
        if is_parquet(path):
            return row_count(path)
        return sum(1 for _ in images(spec))
    except SourceError:  # it will be said where the images are read
        return None


def entries(root: Path, tally: Tally, folders: list[tuple[str, ...]]) -> Iterator[Entry]:
    """The images of a folder or archive in the order of their names, each with the parts of its path below it.

    They can be read as often as somebody wants. A folder that cannot be listed is an image that cannot be read, for
    that reason. All folders on the way, empty ones too, go to `folders`.

    Raises:
        SourceError: not an archive.
    """
    if root.is_dir():
        return _folder(root, tally, folders)
    return unpacked_tar_members(root, tally, folders) if is_tar(root) else zip_members(root, tally, folders)


def _expand(spec: str, tally: Tally, web: WebImages | None = None) -> Iterator[ImageItem]:
    path = Path(spec)
    if os.path.isdir(spec):
        yield from (item for _, item in _folder(path, tally))
    elif is_archive(path):
        yield from (item for _, item in zip_members(path, tally))
    elif is_tar(path):
        yield from (item for _, item in tar_members(path, tally))
    elif is_list(path):
        yield from listed_images(path, web)
    elif is_parquet(path):
        yield from parquet_images(path)
    elif is_stream(spec):
        yield _stream(spec)
    elif video := video_named(spec):
        yield from video_frames(*video)
    elif os.path.lexists(spec):
        yield file_item(spec)
    elif has_range(spec):
        yield from _several(present(numbered(spec), on_disk), tally)
    elif glob.has_magic(spec):  # shells of Windows leave globs to the program
        matches = sorted(glob.glob(spec, recursive=True))
        # With ** the files of a folder are matches themselves.
        names = (name for name in matches if not (os.path.isdir(name) and "**" in spec))
        yield from _several((name for name in names if not _leads_through_junk(name, spec)), tally)


def _leads_through_junk(name: str, spec: str) -> bool:
    """Whether a match lies in what a system left there, unless the pattern itself says so."""
    named = set(Path(spec).parts)
    return any(is_junk(part) for part in Path(name).parts if part not in named)


def _several(names: Iterable[str | ImageItem], tally: Tally) -> Iterator[ImageItem]:
    """The images of several sources; one that cannot be opened is a failure among the others."""
    for name in names:
        if isinstance(name, ImageItem):
            yield name
            continue
        path = Path(name)
        if not (os.path.isdir(name) or is_archive(path) or is_tar(path) or is_parquet(path)):
            if is_tar_name(name) or is_image(name, tally):
                yield file_item(name)
            continue
        try:
            yield from _expand(name, tally)
        except SourceError as exc:
            yield failing_item(printable(name), ImageError(str(exc)))


def _folder(
    root: Path, tally: Tally, folders: list[tuple[str, ...]] | None = None, begin: tuple[str, ...] = ()
) -> Iterator[Entry]:
    """Images below `root`, in the order of their names; the folders below it go to `folders`.

    `begin`: the parts of the path below `root` where it begins; what lies before is not entered.

    Each folder is entered once, whatever links lead to it: links that go round in circles end there, and those to
    folders below `root` are told in `tally`, for these are read under their own names.
    """
    whole = os.path.realpath(root)
    entered: set[tuple[int, int]] = set()

    def walk(folder: str, parts: tuple[str, ...], begin: tuple[str, ...]) -> Iterator[Entry]:
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
            if begin and entry.name < begin[0]:
                continue
            below = begin[1:] if begin and entry.name == begin[0] else ()
            try:
                inner = entry.is_dir()
            except OSError as exc:  # a link to itself, or into a folder that cannot be entered
                yield (
                    (*parts, entry.name),
                    ImageItem(printable(entry.path), partial(_unlisted, entry.path, exc)),
                )
                continue
            if inner:
                if entry.is_symlink() and (own := _own_name(entry.path, whole)):
                    tally.links.append(
                        f"{printable(entry.path)} is a link to {printable(own)}: read there alone."
                    )
                elif is_entered((entry.name,), tally):
                    if folders is not None:
                        folders.append((*parts, entry.name))
                    yield from walk(entry.path, (*parts, entry.name), below)
            elif is_image(entry.name, tally):
                yield (*parts, entry.name), file_item(entry.path)

    return walk(str(root), (), begin)


def _own_name(link: str, root: str) -> str | None:
    """Where the folder that a link leads to lies below `root`, and is come by without it; None where it is not."""
    own = os.path.relpath(os.path.realpath(link), root)
    parts = Path(own).parts
    passed = (
        not parts or parts[0] == os.pardir or any(part.startswith(".") or is_junk(part) for part in parts)
    )
    return None if passed else own


def _standard_input() -> ImageItem:
    if sys.stdin is None or sys.stdin.isatty():
        raise SourceError(
            "-: standard input is closed or a terminal; expected an image. Try: graft classify - < photo.jpg"
        )
    # Read here and not in a decode thread, which Ctrl-C could not wake while the other side is silent.
    data = io.BytesIO(sys.stdin.buffer.read(MAX_BYTES + 1))
    return ImageItem(STDIN, partial(read_stream, data, "standard input"))


def _stream(path: str) -> ImageItem:
    """The image from a pipe or device, read here as from standard input."""
    try:
        data = read_file(path, special=True)
    except ImageError as exc:
        return failing_item(printable(path), exc)
    return held_item(printable(path), data)


def _unlisted(folder: str, exc: OSError) -> bytes:
    raise ImageError(
        f"{printable(folder)}: cannot be listed ({exc.strerror}). Check its permissions."
    ) from exc


def _nothing(spec: str, tally: Tally) -> str:
    name = printable(spec)
    if os.path.lexists(spec):
        others = tally.words() or "nothing else either"
        return f"{name}: no images in it ({others}); expected files such as .jpg, .png or .webp."
    if has_range(spec):
        return f"{name}: none of these files is there. Check the path and the range."
    if glob.has_magic(spec):
        return f"{name}: no image matches. Check the pattern; ** goes into folders."
    try:
        os.lstat(spec)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as exc:
        return f"{name}: cannot be reached ({getattr(exc, 'strerror', exc)}). Check the path and its permissions."
    return f"{name}: no such file or folder. Check the path."
