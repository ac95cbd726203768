"""Lists that name images with what is to be learned of them: CSV, TSV, JSON lines, or a labelling tool's export.

Columns: the image's path, or its id without the ending; a class, a column of 0 and 1 for each class, for multilabel
several labels in a cell or such columns, or for regression a number (`finetune.dataset.columns`); and perhaps `split`,
`group` and `id`. Others are passed over.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from feature_extraction.items import is_junk, printable
from feature_extraction.lists import records
from feature_extraction.stores.opening import is_address
from feature_extraction.web_images import WebImages
from finetune.dataset.columns import Columns, columns_of
from finetune.dataset.doubts import label_doubts
from finetune.dataset.examples import Dataset, Example, Split, split_of, taught_by
from finetune.dataset.label_cells import combination
from finetune.dataset.labelling_tools import exported, is_export
from finetune.dataset.list_options import ListOptions
from finetune.dataset.listed_files import Locator
from finetune.dataset.targets import target_in
from finetune.dataset.task import Task
from models.errors import SourceError
from models.wording import composed, counted

_LOOKED_AT = 20  # lines that tell in which folder the images lie


class _Row(NamedTuple):
    """What a line says of its image."""

    where: str
    file: str
    name: str
    label: str
    target: float
    split: Split | None
    group: str | None
    holding: tuple[str, ...]


def from_list(
    path: Path,
    task: Task,
    *,
    outside: bool = False,
    lists: ListOptions | None = None,
    within: str = "",
    split: Split | None = None,
) -> Dataset:
    """The examples that a list names; relative paths begin at the list's folder, or in the folder that `lists` names.

    A path may lead into a zip archive (`photos.zip/cat/1.jpg`) or to one image of an idx file (`t10k-images[7]`).
    `within` stands before the images' names, `split` is that of all of them.

    Raises:
        SourceError: the list cannot be read, has not the columns, names files outside its folder, or none at all.
    """
    lines, notes = _lines(path, task)
    source = printable(str(path))
    if not lines:
        return Dataset(source, task, (), ())
    columns = columns_of(source, [record for _, record in lines], task, lists or ListOptions())
    rows: list[_Row] = []
    names: set[str] = set()
    for where, record in lines:
        file = columns.image(record, where)
        name = composed(printable(within + (record.get("id") or file)))
        if name in names:
            raise SourceError(f"{where}: {name} stands there a second time. Name each image once.")
        names.add(name)
        label, target, holding = _taught(columns, record, where, task)
        side = split or _split(record.get("split"), where)
        rows.append(_Row(where, file, name, label, target, side, record.get("group") or None, holding))
    if len({row.split is None for row in rows}) == 2:
        missing = next(row for row in rows if row.split is None)
        raise SourceError(
            f"{path}: {missing.name} has no split, while others have one. Fill the column, or leave it out."
        )
    locate, found = _located(path, [row.file for row in rows], lists or ListOptions(), outside)
    examples = tuple(
        Example(
            locate.item(row.file, row.where),
            row.label,
            row.target,
            row.split,
            row.group,
            row.name,
            row.holding,
        )
        for row in rows
    )
    classes = tuple(sorted({name for example in examples for name in taught_by(example)}))
    remarks = (
        *notes, *columns.notes, *found, *_ways(source, locate),
        *label_doubts(source, task, map(_name, columns.classes), examples, classes),
    )  # fmt: skip
    return Dataset(source, task, examples, classes, notes=remarks)


def _lines(path: Path, task: Task) -> tuple[list[tuple[str, dict[str, str]]], tuple[str, ...]]:
    """What a list or an export says of each image, with where it stands; and what is to be said about it."""
    if is_export(path):
        export = exported(path, lists=task == "multilabel")
        return export.records, export.notes
    return [(f"{path}, line {number}", record) for number, record in records(path)], ()


def _taught(
    columns: Columns, record: Mapping[str, str], where: str, task: Task
) -> tuple[str, float, tuple[str, ...]]:
    """Class, number and labels that a line teaches, of which its task has one kind."""
    if task == "multilabel":
        names = columns.labels(record, where)
        holding = tuple(sorted(set(map(_name, names))))
        return combination(holding), math.nan, holding
    taught = columns.taught(record, where)
    if task == "regression":
        return "", _number(taught, where), ()
    return _name(taught), math.nan, ()


def _name(written: str) -> str:
    """A class or label as it is called, however its file writes it."""
    return composed(printable(written))


def _located(
    path: Path, files: Sequence[str], lists: ListOptions, outside: bool
) -> tuple[Locator, list[str]]:
    """Where the images of a list lie: beside it, in the folder that is named, or in one folder beside it.

    Raises:
        SourceError: nowhere there, or in several folders.
    """
    web = WebImages(lists.allow_urls)
    if lists.images is not None:
        folder = Path(lists.images)
        if not folder.is_dir():
            raise SourceError(f"{printable(lists.images)}: no such folder (--images). Check the path.")
        return Locator(folder, outside=outside, by_name=True, web=web), []
    beside = Locator(path.parent, outside=outside, web=web)
    some = files[:_LOOKED_AT]
    if len(files) < 2 or any(_leads_somewhere(beside, file) for file in some):
        return beside, []
    within = [(folder.name, Locator(folder, outside=outside)) for folder in _folders(path.parent)]
    within = [each for each in within if any(_leads_somewhere(each[1], file) for file in some)]
    if len(within) == 1:
        ((name, locate),) = within
        return locate, [f"{printable(str(path))}: its images lie in {name}/."]
    if within:
        places = " and in ".join(f"{name}/" for name, _ in within)
        raise SourceError(f"{path}: its images may lie in {places}. Say where with --images FOLDER.")
    fetch = ", or let them be fetched with --allow-urls HOST" if is_address(some[0]) else ""
    raise SourceError(
        f"{path}: none of the images that it names first is there, such as {printable(some[0])}. Say where they lie "
        f"with --images FOLDER{fetch}."
    )


def _leads_somewhere(locate: Locator, file: str) -> bool:
    try:
        return locate.has(file)
    except ValueError:  # no file can be called so
        return False


def _folders(parent: Path) -> Iterator[Path]:
    try:
        inner = sorted(entry.name for entry in os.scandir(parent) if entry.is_dir())
    except OSError:  # the list could be read, its folder need not be
        return
    yield from (parent / name for name in inner if not name.startswith(".") and not is_junk(name))


def _ways(source: str, locate: Locator) -> Iterator[str]:
    """What was found by less than its whole path."""
    if locate.without_ending:
        yield f"{source}: {counted(locate.without_ending, 'image')} named without an ending."
    if locate.by_last_part:
        yield f"{source}: {counted(locate.by_last_part, 'path')} of another place found by the last part alone."


def _number(text: str, where: str) -> float:
    value = target_in(text)
    if value is None:
        raise SourceError(
            f"{where}: {text!r} is no finite number of 32 bits; expected a target such as 3.5. Correct the line."
        )
    return value


def _split(text: str | None, where: str) -> Split | None:
    if not text:
        return None
    split = split_of(text)
    if split is None:
        raise SourceError(f"{where}: split is {text!r}; expected train, val or test. Correct the line.")
    return split
