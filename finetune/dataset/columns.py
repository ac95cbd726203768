"""Which columns of a list name the image and what is to be learned of it, by their names and what stands in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from feature_extraction.lists import COLUMNS
from finetune.dataset.label_cells import labels_in, separator_of
from finetune.dataset.list_options import ListOptions
from finetune.dataset.task import Task
from models.errors import SourceError
from models.wording import listed

# Where none of COLUMNS is there; most of them name files without their endings.
IDS = ("image_id", "img_id", "image_name", "img", "photo", "name", "id")
LABELS = ("label", "class", "labels", "choice", "category", "class_name", "label_name", "category_name")
SEVERAL = (*LABELS, "tags")  # of an image
TARGETS = ("target", "value", "y", "label")
OTHERS = ("split", "group", "id")  # that mean something else
_FLAGS = {"0": False, "0.0": False, "false": False, "": False, "1": True, "1.0": True, "true": True}
# How programs write that there is nothing: a class of this name would be learned like any other.
MISSING = frozenset(("nan", "NaN", "None", "none", "null", "NULL", "NA", "N/A", "n/a", "<NA>", "NaT"))

_WANTED: Mapping[Task, tuple[tuple[str, ...], str]] = {
    "classification": (LABELS, "the classes"),
    "multilabel": (SEVERAL, "the labels"),
    "regression": (TARGETS, "the numbers"),
}

Record = Mapping[str, str]  # of a line: names of columns, lower case, and texts


@dataclass(frozen=True)
class Columns:
    """The columns of a list: of the image, and of the class or number; or one for each class, with 1 where it is so.

    `notes`: what was guessed, for a person to read. `numbers`: of a regression. `separator`: of several labels.
    """

    path: str
    label: str = ""
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    numbers: bool = False
    separator: str | None = None

    def image(self, record: Record, where: str) -> str:
        """The image's path or id.

        Raises:
            SourceError: the cell is empty.
        """
        if not record.get(self.path):
            raise SourceError(f"{where}: the column {self.path} is empty. Fill it, or take the line out.")
        return record[self.path]

    def taught(self, record: Record, where: str) -> str:
        """The class, or the text of the number.

        Raises:
            SourceError: there is none, several, or what programs write where there is none.
        """
        if self.classes:
            chosen = [name for name in self.classes if _FLAGS[record.get(name, "").casefold()]]
            if len(chosen) == 1:
                return chosen[0]
            given = f"1 in several of its columns, {listed(chosen)}" if chosen else "1 in none of its columns"
            several = " If several may hold, give --task multilabel." if chosen else ""
            raise SourceError(
                f"{where}: {given}; expected exactly one class. Choose one, or take the line out.{several}"
            )
        text = record.get(self.label, "")
        if not text:
            raise SourceError(f"{where}: the column {self.label} is empty. Fill it, or take the line out.")
        if text in MISSING and not self.numbers:
            raise SourceError(
                f"{where}: {self.label} is {text!r}, as programs write what is missing. Fill it, take the line out, or "
                "give a class that is really called so another name."
            )
        if text[0] in "[{":
            raise SourceError(
                f"{where}: {self.label} is {text:.60}; expected one class or number, no list. Choose one, or take the "
                f"line out.{'' if self.numbers else ' If several labels may hold, give --task multilabel.'}"
            )
        return text

    def labels(self, record: Record, where: str) -> list[str]:
        """The labels that hold, as they are written; none where the cell is empty.

        Raises:
            SourceError: what programs write where something is missing, or no list where there seems to be one.
        """
        if self.classes:
            return [name for name in self.classes if _FLAGS[record.get(name, "").casefold()]]
        names = labels_in(record.get(self.label, ""), self.separator, where)
        if missing := [name for name in names if name in MISSING]:
            raise SourceError(
                f"{where}: {self.label} is {missing[0]!r}, as programs write what is missing. Leave the cell empty "
                "where no label holds, take the line out, or give a label that is really called so another name."
            )
        return names


def columns_of(source: str, records: Sequence[Record], task: Task, given: ListOptions) -> Columns:
    """The columns that a list has, from its records, all with the same keys; what `given` names goes first.

    Raises:
        SourceError: none that fits; the message names those that are there.
    """
    header = list(dict.fromkeys(name for record in records for name in record))
    path = _chosen(source, header, given.path_column, (*COLUMNS, *IDS), "the images", "--path-column")
    wanted, what = _WANTED[task]
    named = next((name for name in wanted if name in header and name != path), None)
    rest = [name for name in header if name != path and name not in OTHERS]
    numbers = task == "regression"
    flags = all(record.get(name, "").casefold() in _FLAGS for record in records for name in rest)
    if given.label_column is not None or named:
        label = _chosen(source, header, given.label_column, wanted, what, "--label-column")
        return _column(source, path, label, (), records, task, given)
    if len(rest) == 1 and not (flags and task == "multilabel"):
        note = f"{source}: {what} are taken from its column {rest[0]!r}."
        return _column(source, path, rest[0], (note,), records, task, given)
    if not numbers and rest and flags:
        meaning = (
            "a label, with 1 where it holds"
            if task == "multilabel"
            else "a class, with 1 where an image is of it"
        )
        note = f"{source}: each of its columns {listed(rest)} is {meaning}."
        return Columns(path, classes=tuple(rest), notes=(note,))
    raise SourceError(_nothing_fits(source, header, wanted, what, "--label-column"))


def _column(
    source: str,
    path: str,
    label: str,
    notes: tuple[str, ...],
    records: Sequence[Record],
    task: Task,
    given: ListOptions,
) -> Columns:
    """One column that says what is to be learned, and in multilabel how its labels are parted."""
    if task != "multilabel":
        return Columns(path, label, notes=notes, numbers=task == "regression")
    cells = [record.get(label, "") for record in records]
    separator = separator_of(source, label, cells, given.label_separator)
    if separator is not None:
        example = next(cell for cell in cells if separator in cell and not cell.startswith("["))
        parted = (
            f"{source}: labels in its column {label!r} are parted by {separator!r}, such as in {example!r}."
        )
    elif any(cell.startswith("[") for cell in cells):
        parted = f"{source}: its column {label!r} holds lists of labels."
    else:
        parted = f"{source}: no cell of its column {label!r} names several labels: each is one."
    return Columns(path, label, notes=(*notes, parted), separator=separator)


def _chosen(
    source: str, header: Sequence[str], given: str | None, known: Sequence[str], what: str, option: str
) -> str:
    if given is not None:
        if given.strip().lower() not in header:
            raise SourceError(
                f"{source}: no column {given!r} ({option}); its columns are {_shown(header)}. Name one of them."
            )
        return given.strip().lower()
    for name in known:
        if name in header:
            return name
    raise SourceError(_nothing_fits(source, header, known, what, option))


def _nothing_fits(source: str, header: Sequence[str], known: Sequence[str], what: str, option: str) -> str:
    return (
        f"{source}: its columns are {_shown(header)}; none is known to name {what}, as {listed(known)} are. Say which "
        f"with {option}, or rename it."
    )


def _shown(header: Sequence[str]) -> str:
    return listed(header, 20) or "none"
