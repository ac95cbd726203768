"""Labels that a person has put right in a table of mistakes, applied to labelled images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from feature_extraction.items import printable
from feature_extraction.lists import records
from finetune.dataset.examples import Dataset, Example, taught_by
from finetune.dataset.label_cells import SEPARATORS, combination, labels_in
from models.errors import InputError
from models.wording import counted, listed

DROP = "drop"  # in place of a label


@dataclasses.dataclass(frozen=True)
class Corrected:
    """Images with the corrections applied, and how many were given another label or left out.

    `emptied`: the classes of which no image is left.
    """

    dataset: Dataset
    relabelled: int
    dropped: int
    emptied: tuple[str, ...]

    def words(self) -> str:
        """One sentence."""
        lost = f"; no image is left of {listed(self.emptied)}: not learned" if self.emptied else ""
        changed = f"{counted(self.relabelled, 'image')} relabelled, {self.dropped:,} dropped"
        return f"{changed}, by the corrections{lost}"


def corrected(dataset: Dataset, path: Path) -> Corrected:
    """Apply the column `correction` of a table with a column `id`: the right label, or "drop"; an empty one keeps it.

    Where several labels may hold it names all that do, as `hat;red` or a JSON list; `[]` is none.

    Raises:
        SourceError: the table cannot be read.
        InputError: the images have no classes, a column is missing, an image or a class is not there, an image is
            corrected in two ways, or nothing is corrected at all.
    """
    if dataset.task == "regression":
        raise InputError(
            f"{path}: corrections are of classes, and a number is learned. Correct the list itself."
        )
    several = dataset.task == "multilabel"
    given = _corrections(path, dataset.classes, several)
    places: dict[str, int] = {}
    for i, example in enumerate(dataset.examples):
        name = printable(example.key).strip()
        if name in places and name in given:
            raise InputError(
                f"{path}: {name} stands for several images of {dataset.source}. Rename one of them."
            )
        places[name] = i
    if unknown := sorted(set(given) - set(places)):
        raise InputError(
            f"{path}: {listed(unknown)}: no such image in {dataset.source}. Give the images that the run had learned "
            "from, under the same names."
        )
    changes = {places[name]: label for name, label in given.items()}
    kept = tuple(
        _relabelled(example, changes.get(i), several)
        for i, example in enumerate(dataset.examples)
        if changes.get(i) != DROP
    )
    left = {name for example in kept for name in taught_by(example)}
    classes = tuple(name for name in dataset.classes if name in left)
    if len(classes) < 2 and not several:
        raise InputError(f"{path}: leaves images of {len(classes)} class; expected at least two. Drop fewer.")
    dropped = len(dataset.examples) - len(kept)
    relabelled = sum(label not in (DROP, dataset.examples[i].label) for i, label in changes.items())
    if not dropped and not relabelled:
        raise InputError(
            f"{path}: all its corrections are the labels that the images have. Nothing would change."
        )
    emptied = tuple(name for name in dataset.classes if name not in left)
    return Corrected(
        dataclasses.replace(dataset, examples=kept, classes=classes), relabelled, dropped, emptied
    )


def _relabelled(example: Example, label: str | None, several: bool) -> Example:
    """The example with another label, or with others in place of all its labels; None keeps them."""
    if label is None:
        return example
    holding = tuple(labels_in(label, SEPARATORS[0], "a correction")) if several else ()
    return dataclasses.replace(example, label=label, holding=holding)


def _corrections(path: Path, classes: Sequence[str], several: bool) -> dict[str, str]:
    """Label, or "drop", by the id of each image that has one."""
    given: dict[str, str] = {}
    for number, row in records(path):
        where = f"{path}, line {number}"
        if missing := [name for name in ("id", "correction") if name not in row]:
            raise InputError(
                f"{where}: no column {' and '.join(missing)}; expected the columns of mistakes.csv, of which "
                "`correction` is filled in."
            )
        name, label = row["id"], row["correction"]
        if not label:
            continue
        if label.casefold() == DROP and DROP in (one.casefold() for one in classes):
            raise InputError(
                f"{where}: {label!r} is a class and the word for leaving an image out. Rename the class first."
            )
        label = DROP if label.casefold() == DROP else label
        names = labels_in(label, SEPARATORS[0], where) if several and label != DROP else [label]
        if several and label != DROP:
            label = combination(sorted(set(names)))
        if wrong := [name for name in names if name != DROP and name not in classes]:
            raise InputError(
                f"{where}: no class is called {wrong[0]!r}; expected {listed(classes)}, or {DROP!r} to leave the image "
                "out."
            )
        if given.setdefault(name, label) != label:
            raise InputError(
                f"{where}: {name} is corrected to {given[name]!r} above and to {label!r} here. Keep one."
            )
    if not given:
        raise InputError(
            f"{path}: no row has a correction. Write the right label into the column `correction`, or {DROP!r}."
        )
    return given
