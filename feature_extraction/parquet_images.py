"""Images whose bytes stand in a column of a Parquet file, as data sets of Hugging Face have them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from feature_extraction import items
from feature_extraction.items import ImageItem, failing_item, held_item, printable, too_large
from feature_extraction.stores.objects import StoredFile
from models.errors import ImageError, SourceError
from models.extras import how_to_install
from models.wording import first_line, listed

COLUMN = "image"  # is taken where several columns hold bytes
_BYTES, _PATH = "bytes", "path"  # fields of a column that is a structure
_ROWS = 32  # that are in memory at once


def is_parquet_name(name: str) -> bool:
    """Whether a file of this name would be a Parquet file."""
    return name.lower().endswith(".parquet")


def is_parquet(path: Path) -> bool:
    """Whether a path is a Parquet file, by its name."""
    return is_parquet_name(path.name) and os.path.isfile(path)


def parquet_images(file: Path | StoredFile, begin: int = 0) -> Iterator[ImageItem]:
    """The images in a Parquet file, in the order of its rows, from that with the number `begin` on.

    They stand in a column of bytes, or of structures with `bytes` and perhaps `path`. Each is called after its file
    and row, from 0, and its path where it has one. A file that breaks off gives what is before that, and one failure.

    Raises:
        SourceError: no Parquet file, no such column, or pyarrow is not installed.
    """
    opened = _opened(file)
    column = _column(file, opened.schema_arrow)
    end = 0
    for group in range(opened.num_row_groups):
        row, end = end, end + opened.metadata.row_group(group).num_rows
        if end <= begin:
            continue
        batches = opened.iter_batches(_ROWS, row_groups=[group], columns=[column], use_threads=False)
        while True:
            try:
                batch = next(batches, None)
                values = batch.column(0).to_pylist() if batch is not None else []
            except Exception as exc:
                # pyarrow has several without a common base, and so has what it reads from.
                yield _broken(file, row, exc)
                return
            if batch is None:
                break
            for value in values:
                if row >= begin:
                    yield _item(f"{file}/{row}", value)
                row += 1


def row_of(file: Path | StoredFile, name: str) -> int | None:
    """The row of the image of a Parquet file that is called so; None for an image of another source."""
    row = name.removeprefix(f"{file}/").partition("/")[0]
    return int(row) if name.startswith(f"{file}/") and row.isdecimal() else None


def row_count(file: Path | StoredFile) -> int:
    """How many rows a Parquet file has.

    Raises:
        SourceError: no Parquet file, or pyarrow is not installed.
    """
    return int(_opened(file).metadata.num_rows)


def _opened(file: Path | StoredFile) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as exc:
        raise SourceError(
            f"{file}: Parquet files need pyarrow, which is not installed. Install it with "
            f"{how_to_install('parquet')}."
        ) from exc
    try:
        return parquet.ParquetFile(file if isinstance(file, Path) else file.open("rb"))
    except Exception as exc:
        raise SourceError(
            f"{file}: not a Parquet file that can be read ({first_line(exc)}). Copy or download it again."
        ) from exc


def _column(file: Path | StoredFile, schema: Any) -> str:
    """The column of images.

    Raises:
        SourceError: there is none, or there are several.
    """
    import pyarrow

    def holds_bytes(kind: Any) -> bool:
        if pyarrow.types.is_struct(kind):
            place = kind.get_field_index(_BYTES)
            return place >= 0 and holds_bytes(kind.field(place).type)
        return any(test(kind) for test in (pyarrow.types.is_binary, pyarrow.types.is_large_binary))

    names: list[str] = [field.name for field in schema if holds_bytes(field.type)]
    if len(names) == 1:
        return names[0]
    if COLUMN in names:
        return COLUMN
    if names:
        raise SourceError(
            f"{file}: {len(names)} columns hold bytes ({listed(names)}); expected one, or one called {COLUMN}. Write "
            "the file again with that one."
        )
    raise SourceError(
        f"{file}: no column holds images: its columns are {listed(schema.names, 10)}. Expected one of bytes, or of "
        "structures with bytes and path, as data sets of Hugging Face have it."
    )


def _item(name: str, value: Any) -> ImageItem:
    path = None
    if isinstance(value, dict):
        value, path = value.get(_BYTES), value.get(_PATH)
    name = printable(f"{name}/{path}" if path else name)
    if value is None:
        elsewhere = f"only names a file, {path!r}" if path else "is empty"
        return failing_item(name, ImageError(f"{name}: its row {elsewhere}; expected the bytes of an image."))
    if len(value) > items.MAX_BYTES:
        return failing_item(name, ImageError(too_large(name)))
    return held_item(name, value)


def _broken(file: Path | StoredFile, row: int, exc: Exception) -> ImageItem:
    name = printable(f"{file}/{row}")
    reason = f"{name}: the file breaks off or is damaged here ({first_line(exc)}). Copy or download it again."
    return failing_item(name, ImageError(reason))
