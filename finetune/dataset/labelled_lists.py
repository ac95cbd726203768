"""Lists that name images with what is to be learned of them: CSV, TSV or JSON lines.

Columns: the image's path (as `feature_extraction.lists`), `label` or `class`, for regression a number in `target`,
`value`, `y` or `label`, and perhaps `split`, `group` and `id`. Others are passed over.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feature_extraction.archives import zip_members
from feature_extraction.items import ImageItem, Tally, file_item, printable
from feature_extraction.lists import COLUMNS, records
from finetune.dataset import idx
from finetune.dataset.examples import SPLIT_WORDS, Dataset, Example, Split
from finetune.dataset.task import Task
from models.errors import SourceError

_ZIP = re.compile(r"(.*?\.zip)[/\\](.*)", re.IGNORECASE | re.DOTALL)
LABEL = ("label", "class")
TARGET = ("target", "value", "y", "label")


def from_list(path: Path, task: Task, *, outside: bool = False) -> Dataset:
    """The examples that a list names; relative paths begin at the list's folder.

    A path may lead into a zip archive (`photos.zip/cat/1.jpg`) or to one image of an idx file
    (`t10k-images[7]`).

    Raises:
        SourceError: the list cannot be read, has not the columns, or names a file outside its folder.
    """
    locate = Locator(path.parent, outside=outside)
    examples: list[Example] = []
    names: set[str] = set()
    for number, record in records(path):
        where = f"{path}, line {number}"
        file = _one(record, COLUMNS, where)
        name = printable(record.get("id") or file)
        if name in names:
            raise SourceError(f"{where}: {name} stands there a second time. Name each image once.")
        names.add(name)
        label, target = "", math.nan
        if task == "regression":
            target = _number(_one(record, TARGET, where), where)
        else:
            label = printable(_one(record, LABEL, where))
        item = locate.item(file, where)
        group = record.get("group") or None
        split = _split(record.get("split"), where)
        examples.append(Example(item, label, target, split, group, name))
    if examples and len({example.split is None for example in examples}) == 2:
        missing = next(example for example in examples if example.split is None)
        raise SourceError(
            f"{path}: {missing.name} has no split, while others have one. Fill the column, or leave it out."
        )
    classes = tuple(sorted({example.label for example in examples})) if task == "classification" else ()
    return Dataset(printable(str(path)), task, tuple(examples), classes)


class Locator:
    """Finds what a list's paths lead to."""

    def __init__(self, folder: Path, *, outside: bool) -> None:
        self._folder = os.path.abspath(folder)
        self._outside = outside
        self._idx: dict[Path, NDArray[np.uint8]] = {}
        self._archives: dict[str, dict[str, ImageItem]] = {}

    def item(self, file: str, where: str) -> ImageItem:
        """The image at a path.

        Raises:
            SourceError: the path leads out of the list's folder, or into an archive that has no such image.
        """
        # Without this, `link/../x` would lead elsewhere than it says, once more past the check.
        path = os.path.normpath(os.path.join(self._folder, file))
        if not self._outside and not path.startswith(self._folder.rstrip(os.sep) + os.sep):
            raise SourceError(
                f"{where}: {printable(file)} lies outside the list's folder, {self._folder}. A list from elsewhere "
                "could name any file of yours; if this one is your own, allow it with --outside (outside=True)."
            )
        if os.path.lexists(path):
            return file_item(path, printable(path))
        return self._inside(path) or idx.image_at(path, self._idx) or file_item(path, printable(path))

    def _inside(self, path: str) -> ImageItem | None:
        """The image in a zip archive on the way of the path."""
        match = _ZIP.fullmatch(path)
        if not match:
            return None
        file, member = match.groups()
        if file not in self._archives:
            if not os.path.isfile(file):
                return None
            entries = zip_members(Path(file), Tally())
            self._archives[file] = {"/".join(parts): item for parts, item in entries}
        return self._archives[file].get(member.replace(os.sep, "/"))


def _one(record: Mapping[str, str], names: tuple[str, ...], where: str) -> str:
    for name in names:
        if record.get(name):
            return record[name]
    has = [name for name in names if name in record]
    if has:
        raise SourceError(f"{where}: the column {has[0]} is empty. Fill it, or take the line out.")
    raise SourceError(
        f"{where}: no column for it; expected one of {', '.join(names)}, found {', '.join(record) or 'none'}. "
        "Rename the column."
    )


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= float(np.finfo(np.float32).max):  # in which targets are learned; NaN is not either
        raise SourceError(
            f"{where}: {text!r} is no finite number of 32 bits; expected a target such as 3.5. Correct the line."
        )
    return value


def _split(text: str | None, where: str) -> Split | None:
    if not text:
        return None
    split = SPLIT_WORDS.get(text.strip().casefold())
    if split is None:
        raise SourceError(f"{where}: split is {text!r}; expected train, val or test. Correct the line.")
    return split
