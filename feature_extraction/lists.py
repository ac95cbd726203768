"""Images named in a list: one path a line, a CSV table, or JSON lines."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from feature_extraction.reading import ImageItem, failing_item, file_item, printable
from models.errors import ImageError, SourceError

SUFFIXES = (".txt", ".lst", ".csv", ".tsv", ".jsonl", ".ndjson")
COLUMNS = (
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "image",
    "image_path",
)  # which one names the image
_ID = "id"


def is_list(path: Path) -> bool:
    """Whether a path is a list of images, by its name."""
    return path.suffix.lower() in SUFFIXES and os.path.isfile(path)


def listed(path: Path) -> Iterator[ImageItem]:
    """The images that a list names, in its order; relative paths begin at the list's folder.

    A table has a header with one of the columns `COLUMNS`, and perhaps `id`, which then names the image. JSON
    lines are objects with these fields, or just strings. A text file has one path a line.

    Raises:
        SourceError: the list cannot be read, or has no column of paths.
    """
    read = {".csv": _table, ".tsv": _table, ".jsonl": _json, ".ndjson": _json}.get(path.suffix.lower(), _text)
    begun = False
    given: set[int] = set()  # digests of ids: the ids themselves would take more memory
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for file, name in read(path, stream):
                begun = True
                if name is None or _new(name, given):
                    yield file_item(str(path.parent / file), name)
                else:
                    reason = f"{printable(name)}: an id of another image before; expected one of its own. Rename it."
                    yield failing_item(printable(name), ImageError(reason))
    except (OSError, UnicodeDecodeError, csv.Error, SourceError) as exc:
        error = exc if isinstance(exc, SourceError) else _unreadable(path, exc)
        if not begun:
            raise error from exc
        # What came before is done; a list that nothing can be made of is the only one that is refused.
        yield failing_item(printable(str(path)), ImageError(f"{error} What follows in the list is left out."))


def _new(name: str, given: set[int]) -> bool:
    key = hash(name)
    if key in given:
        return False
    given.add(key)
    return True


def records(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The lines of a table or of JSON lines, each with its number in the file: names of columns, lower case, and texts.

    Raises:
        SourceError: the list cannot be read, or has no columns.
    """
    kind = path.suffix.lower()
    if kind in (".txt", ".lst"):
        raise SourceError(
            f"{path}: a plain list has paths alone; expected columns such as path and label. Save it as .csv."
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            if kind in (".jsonl", ".ndjson"):
                for number, value in _objects(path, stream):
                    if not isinstance(value, dict):
                        raise SourceError(f"{path}, line {number}: a string; expected an object with fields.")
                    yield (
                        number,
                        {str(k).strip().lower(): _cell(v) for k, v in value.items() if v is not None},
                    )
                return
            rows = _rows(path, stream)
            rows.fieldnames = [name.lower() for name in rows.fieldnames or ()]
            for row in rows:
                yield rows.line_num, {name: _cell(value) for name, value in row.items() if name and value}
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise _unreadable(path, exc) from exc


def _text(path: Path, stream: TextIO) -> Iterator[tuple[str, str | None]]:
    for line in stream:
        if line.strip():
            yield line.strip(), None


def _table(path: Path, stream: TextIO) -> Iterator[tuple[str, str | None]]:
    rows = _rows(path, stream)
    header = list(rows.fieldnames or ())
    column = _column(header, f"{path}: its columns are {', '.join(header) or 'none'}")
    for row in rows:
        if row[column]:
            yield row[column].strip(), row.get(_ID) or None


def _json(path: Path, stream: TextIO) -> Iterator[tuple[str, str | None]]:
    for number, value in _objects(path, stream):
        if isinstance(value, str):
            yield value, None
            continue
        column = _column(list(value), f"{path}, line {number}: its fields are {', '.join(value) or 'none'}")
        yield str(value[column]), None if value.get(_ID) is None else str(value[_ID])


def _rows(path: Path, stream: TextIO) -> csv.DictReader[str]:
    """The rows of a table, with the names of its columns without spaces around them."""
    rows = csv.DictReader(stream, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    rows.fieldnames = [(name or "").strip() for name in rows.fieldnames or ()]
    return rows


def _objects(path: Path, stream: TextIO) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """What each line of JSON lines holds, with the line's number."""
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise SourceError(
                f"{path}, line {number}: not JSON ({exc}); expected one object or string a line."
            ) from exc
        if not isinstance(value, (dict, str)):
            raise SourceError(f"{path}, line {number}: {line.strip()[:50]}; expected an object or a string.")
        yield number, value


def _cell(value: object) -> str:
    return str(value).strip()


def _unreadable(path: Path, exc: Exception) -> SourceError:
    return SourceError(
        f"{path}: cannot be read as a list of images ({exc}); expected UTF-8 text. Save it again."
    )


def _column(names: list[str], given: str) -> str:
    for name in COLUMNS:
        if name in names:
            return name
    raise SourceError(f"{given}; expected one of {', '.join(COLUMNS)}. Rename the one with the paths.")
