"""Lists that lie beside the photos that they are about, as Hugging Face, Kaggle and Roboflow lay them."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from feature_extraction.archives import Entry
from feature_extraction.items import printable
from finetune.dataset.examples import Dataset, split_of
from finetune.dataset.labelled_lists import from_list
from finetune.dataset.list_options import ListOptions
from finetune.dataset.task import Task
from models.errors import SourceError
from models.wording import counted, listed

NAMES = (
    "metadata.jsonl", "metadata.csv", "_classes.csv", "labels.csv", "train.csv", "train_labels.csv", "annotations.csv",
    "annotations.xml",
)  # fmt: skip


def lists_beside(root: Path) -> list[Path]:
    """The lists at the top of a folder, or else those in its folders of splits; one each."""
    if own := _list_in(root):
        return [own]
    try:
        inner = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and split_of(entry.name))
    except OSError:  # said where the folder is read
        return []
    return [file for name in inner if (file := _list_in(root / name))]


def from_metadata(
    root: Path,
    files: Collection[Path],
    images: Collection[Entry],
    task: Task,
    *,
    outside: bool,
    lists: ListOptions,
) -> Dataset:
    """The examples that the lists in a folder name; those in folders of splits are of that split.

    `images`: all that lie below the folder; those that no list names are counted.

    Raises:
        SourceError: as `from_list`.
    """
    parts = []
    for file in files:
        above = file.parent != root
        split = split_of(file.parent.name) if above else None
        within = f"{file.parent.name}/" if above else ""
        parts.append(from_list(file, task, outside=outside, lists=lists, within=within, split=split))
    examples = tuple(example for part in parts for example in part.examples)
    used = {os.path.normpath(example.item.id) for example in examples}
    unnamed = [item.id for _, item in images if os.path.normpath(os.path.abspath(item.id)) not in used]
    notes = [f"labels come from {listed([printable(str(file)) for file in files])}, beside the photos."]
    notes += dict.fromkeys(note for part in parts for note in part.notes)
    if unnamed:
        notes.append(f"{counted(len(unnamed), 'image')} not named there and not used, such as {unnamed[0]}.")
    return replace(
        parts[0],
        source=printable(str(root)),
        examples=examples,
        classes=tuple(sorted({name for part in parts for name in part.classes})),
        notes=tuple(notes),
    )


def unused(files: Collection[Path]) -> str:
    """That folders of classes were taken, and not a list beside them."""
    names = listed([printable(str(file)) for file in files])
    return f"{names} is not used: the folders name the classes. Give the list itself as SOURCE to use it."


def refuse_options(source: str, lists: ListOptions) -> None:
    """Refuse what only a list has a use for.

    Raises:
        SourceError: something of it is given.
    """
    if lists.given:
        raise SourceError(
            f"{source}: {' and '.join(lists.given)} is for lists, and the labels here are folders or files of another "
            "kind. Take it away, or give a list."
        )


def _list_in(folder: Path) -> Path | None:
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)
