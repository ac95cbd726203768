"""Images named in a list: one path a line, a CSV table, or JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from feature_extraction.reading import ImageItem, file_item
from models.errors import SourceError

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
    return path.suffix.lower() in SUFFIXES and path.is_file()


def listed(path: Path) -> Iterator[ImageItem]:
    """The images that a list names, in its order; relative paths begin at the list's folder.

    A table has a header with one of the columns `COLUMNS`, and perhaps `id`, which then names the image. JSON
    lines are objects with these fields, or just strings. A text file has one path a line.

    Raises:
        SourceError: the list cannot be read, or has no column of paths.
    """
    read = {".csv": _table, ".tsv": _table, ".jsonl": _json, ".ndjson": _json}.get(path.suffix.lower(), _text)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for file, name in read(path, stream):
                yield file_item(str(path.parent / file), name)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise SourceError(
            f"{path}: cannot be read as a list of images ({exc}); expected UTF-8 text. Save it again."
        ) from exc


def _text(path: Path, stream: TextIO) -> Iterator[tuple[str, str | None]]:
    for line in stream:
        if line.strip():
            yield line.strip(), None


def _table(path: Path, stream: TextIO) -> Iterator[tuple[str, str | None]]:
    rows = csv.DictReader(stream, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    header = [(name or "").strip() for name in rows.fieldnames or ()]
    rows.fieldnames = header
    column = _column(header, f"{path}: its columns are {', '.join(header) or 'none'}")
    for row in rows:
        if row[column]:
            yield row[column].strip(), row.get(_ID) or None


def _json(path: Path, stream: TextIO) -> Iterator[tuple[str, str | None]]:
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise SourceError(
                f"{path}, line {number}: not JSON ({exc}); expected one object or string a line."
            ) from exc
        if isinstance(value, str):
            yield value, None
        elif isinstance(value, dict):
            column = _column(
                list(value), f"{path}, line {number}: its fields are {', '.join(value) or 'none'}"
            )
            yield str(value[column]), None if value.get(_ID) is None else str(value[_ID])
        else:
            raise SourceError(f"{path}, line {number}: {line.strip()[:50]}; expected an object or a string.")


def _column(names: list[str], given: str) -> str:
    for name in COLUMNS:
        if name in names:
            return name
    raise SourceError(f"{given}; expected one of {', '.join(COLUMNS)}. Rename the one with the paths.")
