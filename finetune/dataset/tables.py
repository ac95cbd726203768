"""Tables that a program holds, with an image and what is to be learned of it in each row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from feature_extraction.tables import Table, is_missing, table_images, table_of
from finetune.dataset.columns import LABELS, TARGETS
from finetune.dataset.examples import Dataset, Example, Split, split_of
from finetune.dataset.list_options import ListOptions
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
    try:
        value = float(cell)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise SourceError(f"{where}: {column} is {cell!s:.60}; expected a finite number. Correct the row.")
    return value


def _side(cell: Any, where: str) -> Split:
    side = None if is_missing(cell) else split_of(str(cell))
    if side is None:
        raise SourceError(f"{where}: split is {cell!s:.60}; expected train, val or test. Correct the row.")
    return side
