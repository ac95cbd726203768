"""Tables that a program holds, with an image and what is to be learned of it in each row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from feature_extraction.tables import IMAGES, Table, is_missing, table_images, table_of
from finetune.dataset.columns import LABELS, OTHERS, SEVERAL, TARGETS
from finetune.dataset.examples import Dataset, Example, Split, split_of
from finetune.dataset.label_cells import combination, labels_in, separator_of
from finetune.dataset.list_options import ListOptions
from finetune.dataset.targets import target_in
from finetune.dataset.task import Task
from models.errors import SourceError
from models.wording import composed, listed

_SPLIT = "split"


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

    The columns are those that a list would have (`finetune.dataset.columns`), a column `split` among them.

    Raises:
        SourceError: no such columns, or a row without a label.
    """
    if task == "multilabel":
        return _with_labels(tables, lists)
    wanted, what = (TARGETS, "numbers") if task == "regression" else (LABELS, "classes")
    examples: list[Example] = []
    names: dict[str, Any] = {}
    for split, table in tables.items():
        column = table.named(wanted, lists.label_column, what, "label_column")
        meanings = table.classes(column)
        sides = table.column(_SPLIT) if split is None and _SPLIT in table.columns else None
        labels = table.column(column)
        for row, item in enumerate(table_images(table, lists.path_column)):
            where = f"{table.kind}, row {row}"
            side = split if sides is None else _side(sides[row], where)
            name = f"{split}/{row}" if split else str(row)
            if task == "regression":
                examples.append(
                    Example(item, target=_number(labels[row], where, column), split=side, name=name)
                )
                continue
            label = _label(labels[row], meanings, where, column)
            text = composed(str(label))
            names.setdefault(text, label)
            examples.append(Example(item, text, split=side, name=name))
    (kind,) = {table.kind for table in tables.values()}
    return Dataset(kind, task, tuple(examples), tuple(sorted(names))), dict(sorted(names.items()))


def _with_labels(tables: Mapping[Split | None, Table], lists: ListOptions) -> tuple[Dataset, dict[str, Any]]:
    """Images with several labels: a column of lists or of texts, or a column of 0 and 1 for each label."""
    examples: list[Example] = []
    names: dict[str, Any] = {}
    notes: list[str] = []
    for split, table in tables.items():
        sets, remarks = _label_sets(table, lists)
        notes += [text for text in remarks if text not in notes]
        sides = table.column(_SPLIT) if split is None and _SPLIT in table.columns else None
        for row, (item, labels) in enumerate(zip(table_images(table, lists.path_column), sets, strict=True)):
            side = split if sides is None else _side(sides[row], f"{table.kind}, row {row}")
            for label in labels:
                names.setdefault(composed(str(label)), label)
            holding = tuple(sorted({composed(str(label)) for label in labels}))
            name = f"{split}/{row}" if split else str(row)
            examples.append(Example(item, combination(holding), split=side, name=name, holding=holding))
    (kind,) = {table.kind for table in tables.values()}
    if not names:
        raise SourceError(f"{kind}: no row has a label; expected some. Fill the column of labels.")
    dataset = Dataset(kind, "multilabel", tuple(examples), tuple(sorted(names)), notes=tuple(notes))
    return dataset, dict(sorted(names.items()))


def _label_sets(table: Table, lists: ListOptions) -> tuple[list[list[Any]], list[str]]:
    """The labels of each row, and what was assumed."""
    lower = {name.lower() for name in table.columns}
    if lists.label_column is None and not lower & set(SEVERAL):
        image = table.named(IMAGES, lists.path_column, "images", "path_column")
        rest = [name for name in table.columns if name != image and name.lower() not in OTHERS]
        cells = {name: table.column(name) for name in rest}
        if rest and all(_is_flag(cell) for column in cells.values() for cell in column):
            note = f"{table.kind}: each of its columns {listed(rest)} is a label, with 1 where it holds."
            return [[name for name in rest if cells[name][row]] for row in range(table.count)], [note]
    column = table.named(SEVERAL, lists.label_column, "labels", "label_column")
    meanings, cells_of_it = table.classes(column), table.column(column)
    texts = [cell for cell in cells_of_it if isinstance(cell, str)]
    separator = separator_of(table.kind, column, texts, lists.label_separator) if texts else None
    notes = (
        [f"{table.kind}: labels in its column {column!r} are parted by {separator!r}."] if separator else []
    )
    sets = []
    for row, cell in enumerate(cells_of_it):
        where = f"{table.kind}, row {row}"
        if isinstance(cell, str):
            sets.append(list(labels_in(cell, separator, where)))
        elif isinstance(cell, (list, tuple, set, np.ndarray)):
            sets.append([_label(one, meanings, where, column) for one in cell])
        else:
            sets.append([] if is_missing(cell) else [_label(cell, meanings, where, column)])
    return sets, notes


def _is_flag(cell: Any) -> bool:
    """Whether a cell says yes or no by itself."""
    return isinstance(cell, (bool, int, float, np.generic)) and cell in (0, 1)


def _label(cell: Any, meanings: Any, where: str, column: str) -> Any:
    """The caller's label of a row: a text, number or truth, by its name where the column has names."""
    if is_missing(cell):
        raise SourceError(f"{where}: the column {column} is empty. Fill it, or leave the row out.")
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
    return cell.item() if isinstance(cell, np.generic) else cell


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
