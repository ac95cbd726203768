"""Images named in a list: one path a line, a CSV table, or JSON lines."""

from __future__ import annotations

import codecs
import csv
import json
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from feature_extraction.digest_set import DigestSet
from feature_extraction.items import ImageItem, failing_item, file_item, printable
from feature_extraction.stored_items import address_item
from feature_extraction.stores.listing import beside
from feature_extraction.stores.objects import StoredFile
from feature_extraction.stores.opening import is_address
from feature_extraction.web_images import WebImages
from models.errors import ImageError, SourceError

_SUFFIXES = (".txt", ".lst", ".csv", ".tsv", ".jsonl", ".ndjson")
# Which one names the image.
COLUMNS = ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "image_url", "url")
_ID = "id"
_DELIMITERS = (",", ";", "\t", "|")
_HOPELESS = 20  # broken lines at the beginning: then it is no list

Fields = dict[str, Any]  # of a line: names of columns, lower case
_Reader = Callable[[Path | StoredFile, TextIO], Iterator[tuple[int, Fields | str | SourceError]]]


def is_list(path: Path) -> bool:
    """Whether a path is a list of images, by its name."""
    return is_list_name(path.name) and os.path.isfile(path)


def is_list_name(name: str) -> bool:
    """Whether a file of this name would be a list of images."""
    return os.path.splitext(name)[1].lower() in _SUFFIXES


def listed_images(path: Path | StoredFile, web: WebImages | None = None) -> Iterator[ImageItem]:
    """The images that a list names, in its order; relative paths begin at the list's folder.

    A table has a header with one of the columns `COLUMNS`, and perhaps `id`, which then names the image. JSON
    lines are objects with these fields, or just strings. A text file has one path a line. A broken line is an image
    that cannot be read. Addresses are fetched as `web` allows.

    Raises:
        SourceError: the list cannot be read, has no column of paths, or nothing but broken lines at its beginning.
    """
    begun = False
    broken: list[tuple[str, SourceError]] = []  # lines before the first that names an image
    try:
        for where, entry in _named(path, web or WebImages()):
            if isinstance(entry, SourceError):
                broken.append((where, entry))
            else:
                begun = True
            if begun:
                yield from (failing_item(place, ImageError(str(error))) for place, error in broken)
                broken.clear()
                if isinstance(entry, ImageItem):
                    yield entry
            elif len(broken) == _HOPELESS:
                break
    except SourceError as exc:
        if not begun:
            raise
        # What came before is done; a list that nothing can be made of is the only one that is refused.
        yield failing_item(printable(str(path)), ImageError(f"{exc} What follows in the list is left out."))
    if broken:
        raise broken[0][1]


def slashed(file: str) -> str:
    """A path with the slashes of this system: Windows writes the others."""
    return file.replace("\\", "/") if os.sep == "/" else file


def records(path: Path | StoredFile) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines of a table or of JSON lines, each with its number in the file: names of columns, lower case, and texts.

    What is empty or null is ""; lists and objects are JSON.

    Raises:
        SourceError: the list cannot be read, or a broken line.
    """
    if path.suffix.lower() in (".txt", ".lst"):
        raise SourceError(
            f"{path}: a plain list has paths alone; expected columns such as path and label. Save it as .csv."
        )
    for number, entry in _entries(path, any_columns=True):
        if isinstance(entry, SourceError):
            raise entry
        if isinstance(entry, str):
            raise SourceError(f"{path}, line {number}: a string; expected an object with fields.")
        yield number, {name: _cell(value) for name, value in entry.items()}


def _cell(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value).strip()


def _named(path: Path | StoredFile, web: WebImages) -> Iterator[tuple[str, ImageItem | SourceError]]:
    """For each line of a list where it stands, and its image or why there is none."""
    ids = DigestSet()
    for number, entry in _entries(path):
        where = f"{path}, line {number}"
        try:
            file, name = _file(entry, where)
            if name is not None and not ids.add(name):
                raise SourceError(
                    f"{where}: {name} is the id of an image before; expected its own. Rename it."
                )
        except SourceError as exc:
            yield printable(where), exc
        else:
            if file and is_address(file):
                yield where, web.item(file, name)
            elif file:
                yield where, _beside(path, file, name)


def _beside(path: Path | StoredFile, file: str, name: str | None) -> ImageItem:
    """The image that a list names by a path; by one with backslashes where nothing is called so."""
    if isinstance(path, StoredFile):
        url = beside(path, slashed(file))
        if url is not None:
            return address_item(url, name)
        reason = f"{printable(file)}: leads out of the store of its list; expected a path beside {path}."
        return failing_item(printable(name or file), ImageError(reason))
    whole = str(path.parent / file)
    if "\\" in file and not os.path.lexists(whole):
        whole = str(path.parent / slashed(file))
    return file_item(whole, name)


def _file(entry: Fields | str | SourceError, where: str) -> tuple[str, str | None]:
    """Path and id of what a line holds."""
    if isinstance(entry, SourceError):
        raise entry
    if isinstance(entry, str):
        return entry, None
    file, name = entry[_column(entry, f"{where}: its fields are")], entry.get(_ID)
    if not isinstance(file, str):
        raise SourceError(f"{where}: its path is {file!r:.50}; expected text. Correct the line.")
    return file, None if name in (None, "") else str(name)


def _entries(
    path: Path | StoredFile, *, any_columns: bool = False
) -> Iterator[tuple[int, Fields | str | SourceError]]:
    """What the lines of a list hold, each with its number: fields, a path alone, or why it cannot be read.

    A table has a column of paths, unless `any_columns` leaves that to the caller.

    Raises:
        SourceError: the list cannot be read at all, or no further.
    """
    table: _Reader = partial(_table, any_columns=any_columns)
    readers: dict[str, _Reader] = {".csv": table, ".tsv": table, ".jsonl": _json, ".ndjson": _json}
    read = readers.get(path.suffix.lower(), _text)
    try:
        with path.open("rb") as begin:
            if begin.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise SourceError(f"{path}: a list in UTF-16; expected UTF-8. Save it again as UTF-8.")
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            yield from read(path, stream)
    except OSError as exc:
        raise SourceError(f"{path}: cannot be read as a list ({exc.strerror}). Check the file.") from exc


def _text(path: Path | StoredFile, stream: TextIO) -> Iterator[tuple[int, str | SourceError]]:
    for number, line in enumerate(stream, 1):
        if line := line.strip():
            yield number, line if _is_text(line) else _no_text(path, number)


def _json(path: Path | StoredFile, stream: TextIO) -> Iterator[tuple[int, Fields | str | SourceError]]:
    for number, line in _text(path, stream):
        yield number, line if isinstance(line, SourceError) else _value(path, number, line)


def _value(path: Path | StoredFile, number: int, line: str) -> Fields | str | SourceError:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as exc:
        return _broken(path, number, f"not JSON ({exc}); expected one object or string a line.", exc)
    if isinstance(value, dict):
        return {name.strip().lower(): cell for name, cell in value.items()}
    if isinstance(value, str):
        return value
    return SourceError(f"{path}, line {number}: {line:.50}; expected an object or a string.")


def _table(
    path: Path | StoredFile, stream: TextIO, *, any_columns: bool
) -> Iterator[tuple[int, Fields | SourceError]]:
    rows = _rows(path, stream)
    _, header = next(rows, (1, list[str]()))
    if isinstance(header, SourceError):
        raise header
    names = [name.lower() for name in header]
    if not any_columns:
        _column(names, f"{path}: its columns are")
    blank = dict.fromkeys(names, "")
    for number, row in rows:
        yield number, row if isinstance(row, SourceError) else blank | dict(zip(names, row, strict=False))


def _rows(path: Path | StoredFile, stream: TextIO) -> Iterator[tuple[int, list[str] | SourceError]]:
    """The rows of a table, each with the number of its first line. After a broken one the next line begins another."""
    first = stream.readline()
    ahead = deque([first] if first else [])  # lines that a broken row took with it
    delimiter = _delimiter(first, "\t" if path.suffix.lower() == ".tsv" else ",")
    number = 1
    while True:
        taken: list[str] = []
        row: list[str] | SourceError | None
        try:
            row = next(csv.reader(_taking(ahead, stream, taken), delimiter=delimiter, strict=True), None)
            if row and not _is_text("".join(taken)):
                row = _no_text(path, number)
        except csv.Error as exc:  # perhaps a quote that is never closed: all that follows was in it
            row = _broken(path, number, f"no row of a table ({exc}). Correct the line.", exc)
            ahead.extendleft(reversed(taken[1:]))
            del taken[1:]
        if row is None:
            return
        if row:
            yield number, row if isinstance(row, SourceError) else [cell.strip() for cell in row]
        number += len(taken)


def _delimiter(header: str, usual: str) -> str:
    """What stands between the cells of a table: the usual sign, or that which the header has in its place."""
    if usual in header:
        return usual
    return max(_DELIMITERS, key=header.count) if any(sign in header for sign in _DELIMITERS) else usual


def _taking(ahead: deque[str], stream: TextIO, taken: list[str]) -> Iterator[str]:
    while line := ahead.popleft() if ahead else stream.readline():
        taken.append(line)
        yield line


def _column(names: Collection[str], given: str) -> str:
    for name in COLUMNS:
        if name in names:
            return name
    raise SourceError(
        f"{given} {', '.join(names) or 'none'}; expected one of {', '.join(COLUMNS)}. Rename the one with the paths."
    )


def _is_text(line: str) -> bool:
    """Whether a line was UTF-8: other bytes were read as surrogates."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_text(path: Path | StoredFile, number: int) -> SourceError:
    return SourceError(f"{path}, line {number}: not UTF-8. Save the list again as UTF-8.")


def _broken(path: Path | StoredFile, number: int, reason: str, exc: Exception) -> SourceError:
    error = SourceError(f"{path}, line {number}: {reason}")
    error.__cause__ = exc
    return error
