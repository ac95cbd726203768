"""Tables that a program holds, with an image and what is to be learned of it in each row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from feature_extraction.tables import IMAGES, Table, is_missing, table_images, table_of
from finetune.dataset.columns import LABELS, MISSING, OTHERS, SEVERAL, TARGETS
from finetune.dataset.doubts import label_doubts
from finetune.dataset.examples import Dataset, Example, Split, split_of
from finetune.dataset.given_labels import are_mixed, plain_label
from finetune.dataset.label_cells import combination, labels_in, separator_of
from finetune.dataset.list_options import ListOptions
from finetune.dataset.targets import target_in
from finetune.dataset.task import Task
from models.errors import SourceError
from models.wording import composed, listed

_SPLIT, _GROUP = "split", "group"


def tables_in(source: Any) -> dict[Split | None, Table]:
    """The tables of a source by what they are for: one, or those of a dictionary of splits. Empty where it is none.

    Raises:
        SourceError: a table with a name that is no split's.
    """
    if isinstance(source, Mapping):
        tables: dict[Split | None, Table] = {}
        for name, part in source.items():
            table = table_of(part)
            if table is None:
                return {}
            split = split_of(str(name))
            if split is None or split in tables:
                raise SourceError(
                    f"a dictionary of tables has {listed([str(one) for one in source])}; expected train, validation "
                    "and test, each once. Give those alone, or one table."
                )
            tables[split] = table
        return tables
    table = table_of(source)
    return {} if table is None else {None: table}


def from_tables(
    tables: Mapping[Split | None, Table], task: Task, lists: ListOptions
) -> tuple[Dataset, dict[str, Any]]:
    """The examples of tables, and the caller's own label behind each class.

    The columns are those that a list would have (`finetune.dataset.columns`), `split` and `group` among them.

    Raises:
        SourceError: no such columns, a row without a label, labels of two kinds, or options for the files of lists.
    """
    kind = listed(sorted({table.kind for table in tables.values()}))
    if unused := [name for name in ("images", "allow_urls") if getattr(lists, name)]:
        raise SourceError(
            f"{kind}: {listed(unused)} of `lists` is for lists in files. Leave it out, and give paths or images."
        )
    examples: list[Example] = []
    names: dict[Any, str] = {}  # of the caller's labels, of which 1 and 1.0 are one
    flags: list[str] = []
    notes: dict[str, None] = {}
    for split, table in tables.items():
        taught, columns, remarks = _taught(table, task, lists)
        flags += columns
        notes |= dict.fromkeys(remarks)
        sides, groups = _cells(table, _SPLIT if split is None else None), _cells(table, _GROUP)
        for row, item in enumerate(table_images(table, lists.path_column)):
            target = math.nan
            labels: list[Any] = []
            if task == "regression":
                target = taught[row]
            else:
                labels = taught[row]
            written = [names.setdefault(label, composed(str(label))) for label in labels]
            holding = tuple(sorted(set(written))) if task == "multilabel" else ()
            examples.append(
                Example(
                    item,
                    combination(holding) if task == "multilabel" else "".join(written),
                    target,
                    split if sides is None else _side(sides[row], f"{table.kind}, row {row}"),
                    None if groups is None or is_missing(groups[row]) else str(groups[row]),
                    f"{split}/{row}" if split else str(row),
                    holding,
                )
            )
    if are_mixed(names):
        raise SourceError(
            f"{kind}: some labels are texts and others numbers; expected one kind. Make them all texts."
        )
    own = {name: label for label, name in sorted(names.items(), key=lambda pair: pair[1])}
    if task == "multilabel" and not own:
        raise SourceError(f"{kind}: no row has a label; expected some. Fill the column of labels.")
    doubts = label_doubts(kind, task, map(composed, flags), examples, list(own))
    return Dataset(kind, task, tuple(examples), tuple(own), notes=(*notes, *doubts)), own


def _cells(table: Table, name: str | None) -> Sequence[Any] | None:
    """All cells of a column that is called so, in any case; None where there is none."""
    return next((table.column(one) for one in table.columns if one.lower() == name), None)


def _taught(table: Table, task: Task, lists: ListOptions) -> tuple[list[Any], list[str], list[str]]:
    """What each row teaches: a number, or labels; columns that are a label each; and what was assumed."""
    if task == "multilabel":
        return _label_sets(table, lists)
    wanted, what = (TARGETS, "numbers") if task == "regression" else (LABELS, "classes")
    column = table.named(wanted, lists.label_column, what, "label_column")
    cells = [(cell, f"{table.kind}, row {row}") for row, cell in enumerate(table.column(column))]
    if task == "regression":
        return [_number(cell, where, column) for cell, where in cells], [], []
    meanings = table.classes(column)
    return [[_label(cell, meanings, where, column)] for cell, where in cells], [], []


def _label_sets(table: Table, lists: ListOptions) -> tuple[list[list[Any]], list[str], list[str]]:
    """The labels of each row, columns that are a label each, and what was assumed."""
    lower = {name.lower() for name in table.columns}
    if lists.label_column is None and not lower & set(SEVERAL):
        image = table.named(IMAGES, lists.path_column, "images", "path_column")
        rest = [name for name in table.columns if name != image and name.lower() not in OTHERS]
        cells = {name: table.column(name) for name in rest}
        if rest and all(_is_flag(cell) for column in cells.values() for cell in column):
            note = f"{table.kind}: each of its columns {listed(rest)} is a label, with 1 where it holds."
            sets = [[name for name in rest if cells[name][row]] for row in range(table.count)]
            return sets, rest, [note]
    column = table.named(SEVERAL, lists.label_column, "labels", "label_column")
    meanings, cells_of_it = table.classes(column), table.column(column)
    texts = [cell for cell in cells_of_it if isinstance(cell, str)]
    separator = separator_of(table.kind, column, texts, lists.label_separator)
    notes = (
        [f"{table.kind}: labels in its column {column!r} are parted by {separator!r}."] if separator else []
    )
    sets = []
    for row, cell in enumerate(cells_of_it):
        where = f"{table.kind}, row {row}"
        if isinstance(cell, str):
            sets.append(
                [_label(one, None, where, column) for one in labels_in(cell.strip(), separator, where)]
            )
        elif isinstance(cell, (list, tuple, set, np.ndarray)):
            sets.append([_label(one, meanings, where, column) for one in cell])
        else:
            sets.append([] if is_missing(cell) else [_label(cell, meanings, where, column)])
    return sets, [], notes


def _is_flag(cell: Any) -> bool:
    """Whether a cell says yes or no by itself."""
    return isinstance(cell, (bool, int, float, np.generic)) and cell in (0, 1)


def _label(cell: Any, meanings: Any, where: str, column: str) -> Any:
    """The caller's label of a row: a text, number or truth, by its name where the column has names."""
    cell = plain_label(cell)
    if is_missing(cell):
        raise SourceError(f"{where}: the column {column} is empty. Fill it, or leave the row out.")
    if isinstance(cell, str) and cell in MISSING:
        raise SourceError(
            f"{where}: {column} is {cell!r}, as programs write what is missing. Fill it, leave the row out, or give a "
            "class that is really called so another name."
        )
    if isinstance(cell, (list, tuple, set, dict, np.ndarray)):
        raise SourceError(
            f"{where}: {column} is {cell!s:.60}; expected one class. Choose one, or leave the row out."
        )
    if meanings is not None and isinstance(cell, int):
        if not 0 <= cell < len(meanings):
            raise SourceError(
                f"{where}: {column} is {cell}, which has no name among {len(meanings)}. A set for tests often has "
                "no labels: leave it out."
            )
        return meanings[cell]
    return cell


def _number(cell: Any, where: str, column: str) -> float:
    value = target_in(cell)
    if value is None:
        raise SourceError(
            f"{where}: {column} is {cell!s:.60}; expected a finite number of 32 bits. Correct the row."
        )
    return value


def _side(cell: Any, where: str) -> Split:
    side = None if is_missing(cell) else split_of(str(cell))
    if side is None:
        raise SourceError(f"{where}: split is {cell!s:.60}; expected train, val or test. Correct the row.")
    return side
