"""Tables that a program holds, with an image in each row: of pandas, polars, pyarrow, and Hugging Face's `datasets`.

None of these libraries is imported: a table is known by what it can do.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from feature_extraction.items import Content, ImageItem, file_item, held_item, printable
from feature_extraction.lists import COLUMNS
from feature_extraction.stores.opening import is_address
from feature_extraction.web_images import WebImages
from models.errors import ImageError, SourceError
from models.wording import listed

IMAGES = (*COLUMNS, "img", "photo", "picture", "jpg", "png")  # names of the column with the images


@dataclass(frozen=True)
class Table:
    """Rows with named cells. `kind` is what people call it, `classes` the names behind a column's numbers.

    `lazy`: a cell is made when it is asked for, such as an image that is decoded then.
    """

    kind: str
    columns: tuple[str, ...]
    count: int
    column: Callable[[str], Sequence[Any]]  # all cells of a column
    cell: Callable[[int, str], Any]
    classes: Callable[[str], Sequence[str] | None] = lambda name: None
    lazy: bool = False
    source: Any = None  # what the table is made of, where rows are read later, perhaps by another process

    def named(self, names: Sequence[str], given: str | None, what: str, option: str) -> str:
        """The column that is called `given`, or else the first of `names`, in any case.

        Raises:
            SourceError: there is none; the message names those that are there.
        """
        lower = {name.lower(): name for name in reversed(self.columns)}
        for name in [given] if given is not None else names:
            if name in self.columns or name.lower() in lower:
                return name if name in self.columns else lower[name.lower()]
        wanted = f"no column {given!r}" if given is not None else f"no column that is known to hold {what}"
        raise SourceError(
            f"{self.kind}: {wanted}; its columns are {listed(self.columns, 20) or 'none'}. Say which with {option}."
        )


def table_of(source: Any) -> Table | None:
    """What a source is as a table; None where it is none."""
    if hasattr(source, "features") and hasattr(source, "column_names") and hasattr(source, "__len__"):
        return Table(
            "a dataset of Hugging Face",
            tuple(source.column_names),
            len(source),
            lambda name: list(source[name]),
            lambda row, name: source[row][name],
            lambda name: _names_behind(source.features[name]),
            lazy=True,
            source=source,
        )
    if hasattr(source, "columns") and hasattr(source, "iloc"):
        return Table(
            "a DataFrame",
            tuple(map(str, source.columns)),
            len(source),
            lambda name: source.iloc[:, _place(source, name)].tolist(),
            lambda row, name: source.iat[row, _place(source, name)],
        )
    if hasattr(source, "columns") and hasattr(source, "iter_rows"):
        return Table(
            "a DataFrame",
            tuple(source.columns),
            len(source),
            lambda name: source[name].to_list(),
            lambda row, name: source[name][row],
        )
    if hasattr(source, "column_names") and hasattr(source, "to_pylist"):
        return Table(
            "a table of Arrow",
            tuple(source.column_names),
            len(source),
            lambda name: source[name].to_pylist(),
            lambda row, name: source[name][row].as_py(),
        )
    return None


def table_images(table: Table, column: str | None = None) -> Iterator[ImageItem]:
    """The images of a table's rows, each called by its path, or else by its row.

    Raises:
        SourceError: no column holds images; the message names those that are there.
    """
    name = table.named(IMAGES, column, "images", "path_column")
    for row in range(table.count):
        yield _in_row(table, row, name)


def row_image(row: Mapping[str, Any], position: int) -> ImageItem:
    """The image of one row by itself, as streams of rows give them.

    Raises:
        SourceError: it has no column of images.
    """
    table = Table(f"row {position}", tuple(row), 1, lambda name: [row[name]], lambda _, name: row[name])
    return _item(row[table.named(IMAGES, None, "images", "its name")], str(position))


def _names_behind(feature: Any) -> Sequence[str] | None:
    """The names of a column of classes, or of lists of them."""
    return getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)


def is_missing(cell: Any) -> bool:
    """Whether a cell is empty, as the libraries write it."""
    if isinstance(cell, np.generic):
        cell = cell.item()  # None of a time that is none
    if isinstance(cell, str):
        return cell in ("", "<NA>", "NaT")
    # Of pandas' own NA nothing else can be asked: whether it equals anything is NA again.
    return (
        cell is None
        or (isinstance(cell, float) and math.isnan(cell))
        or type(cell).__name__ in ("NAType", "NaTType")
    )


def _place(frame: Any, name: str) -> int:
    return [str(one) for one in frame.columns].index(name)


def _in_row(table: Table, row: int, name: str) -> ImageItem:
    """The image of a row, which is decoded as it is read."""
    if table.lazy:
        return ImageItem(str(row), partial(_read, table.source, row, name))
    return _item(table.cell(row, name), str(row))


def _read(source: Any, row: int, name: str) -> Content:
    table = table_of(source)
    assert table is not None  # it was one when it was listed
    return _item(table.cell(row, name), str(row)).read()


def _item(cell: Any, row: str) -> ImageItem:
    """The image of a cell: a path, an encoded or a decoded image, or Hugging Face's pair of path and bytes.

    Raises:
        ImageError: when it is read, where it holds none.
    """
    if isinstance(cell, Mapping) and ("bytes" in cell or "path" in cell):
        name = os.path.basename(str(cell.get("path") or "")) or row
        if cell.get("bytes") is not None:
            return held_item(printable(f"{row}/{name}" if name != row else row), bytes(cell["bytes"]))
        cell = cell.get("path")
    if isinstance(cell, (str, os.PathLike)) and cell != "":
        path = os.fspath(cell)
        return WebImages().item(path) if is_address(path) else file_item(path)
    if isinstance(cell, (bytes, Image.Image)) or (isinstance(cell, np.ndarray) and cell.ndim == 3):
        return held_item(row, cell)
    kind = "empty" if isinstance(cell, Mapping) or is_missing(cell) else f"a {type(cell).__name__}"
    return ImageItem(row, partial(_refuse, row, kind))


def _refuse(row: str, kind: str) -> Content:
    raise ImageError(
        f"row {row}: the cell of its image is {kind}; expected a path, bytes or an image. Correct the row."
    )
