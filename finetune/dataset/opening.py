"""Where labelled images come from: folders of classes, archives of them, lists, and idx files."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from feature_extraction.archives import Entry, is_archive
from feature_extraction.items import Tally, printable
from feature_extraction.lists import is_list
from feature_extraction.sources import entries
from finetune.dataset import idx, labelled_lists
from finetune.dataset.examples import Dataset, Example, Split, Task
from models.errors import SourceError

SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def open_dataset(
    spec: str | os.PathLike[str],
    task: Task = "classification",
    *,
    split_names: bool = True,
    outside: bool = False,
) -> Dataset:
    """The labelled images of a source; none of them is read yet.

    `spec` is a folder or zip archive with a folder for each class, perhaps below train, val and test; a CSV, TSV or
    JSON-lines list (`finetune.dataset.labelled_lists`); or a folder with MNIST's idx files. With `split_names=False`
    folders called train or test are classes like others. `outside` allows a list to name files outside its own folder.

    Raises:
        SourceError: nothing is there, it has no labelled images, or only one class.
        ImageError: the folder itself cannot be listed.
    """
    source = os.fspath(spec)
    path = Path(source)
    if not source:
        raise SourceError(
            "the path is empty; expected a folder, a zip archive or a list. Check how it was written."
        )
    if is_list(path):
        dataset = labelled_lists.from_list(path, task, SPLIT_FOLDERS, outside=outside)
    elif task == "regression":
        raise SourceError(
            f"{source}: regression needs a number for each image. Give a CSV or JSON-lines list with the columns path "
            "and target."
        )
    elif idx.holds_idx(path):
        dataset = idx.from_idx(path)
    elif path.is_dir() or is_archive(path):
        dataset = _from_folders(path, split_names)
    else:
        kind = "a file of another kind" if path.exists() else "no such file or folder"
        raise SourceError(
            f"{source}: {kind}; expected a folder or .zip with one folder of images for each class, or a .csv, .tsv or "
            ".jsonl list. Check the path."
        )
    return _checked(dataset)


def _from_folders(root: Path, split_names: bool) -> Dataset:
    tally = Tally()
    found: list[Entry] = []
    for parts, item in entries(root, tally):
        if not parts:  # the folder itself cannot be listed: reading says why
            item.read()
        found.append((parts, item))
    folders = _folders(root)
    found, folders = _unwrapped(found, folders, split_names)
    depth = int(split_names and _has_splits(found))
    examples: list[Example] = []
    stray: list[str] = []
    for parts, item in found:
        split = SPLIT_FOLDERS.get(parts[0].casefold()) if depth else None
        if len(parts) < depth + 2 or (depth and split is None):
            stray.append(item.id)
            continue
        label = printable(parts[depth])
        examples.append(Example(item, label, split=split, name=printable("/".join(parts))))
    full = {example.name.rpartition("/")[0] for example in examples}
    full |= {str(parent) for folder in full for parent in PurePosixPath(folder).parents}
    empty = [
        name
        for parts in folders
        if len(parts) == depth + 1
        and (not depth or parts[0].casefold() in SPLIT_FOLDERS)
        and (name := printable("/".join(parts))) not in full
    ]
    classes = tuple(sorted({example.label for example in examples}))
    return Dataset(
        printable(str(root)),
        "classification",
        tuple(examples),
        classes,
        tally.ignored,
        tuple(stray),
        tuple(sorted(empty)),
    )


def _folders(root: Path) -> list[tuple[str, ...]]:
    """The folders up to two below `root`, which may be empty."""
    if root.is_dir():
        return [
            path.relative_to(root).parts
            for pattern in ("*", "*/*", "*/*/*")
            for path in root.glob(pattern)
            if path.is_dir() and not any(part.startswith(".") for part in path.relative_to(root).parts)
        ]
    with zipfile.ZipFile(root) as archive:  # `entries` has opened it before
        names = [
            PurePosixPath(info.filename.replace("\\", "/")) for info in archive.infolist() if info.is_dir()
        ]
    return [name.parts for name in names if name.parts[:1] != ("__MACOSX",)]


def _unwrapped(
    found: list[Entry], folders: list[tuple[str, ...]], split_names: bool
) -> tuple[list[Entry], list[tuple[str, ...]]]:
    """Without the one folder that holds everything, where classes or splits lie in it."""
    tops = {parts[0] for parts, _ in found}
    if len(tops) != 1 or not all(len(parts) > 2 for parts, _ in found):
        return found, folders
    (top,) = tops
    if split_names and top.casefold() in SPLIT_FOLDERS and not _has_splits([(p[1:], i) for p, i in found]):
        return found, folders  # one split alone
    return (
        [(parts[1:], item) for parts, item in found],
        [parts[1:] for parts in folders if parts[0] == top and len(parts) > 1],
    )


def _has_splits(found: Iterable[Entry]) -> bool:
    """Whether the folders at the top are splits: train and at least one other, or nothing but splits."""
    tops = {parts[0].casefold() for parts, _ in found if len(parts) > 2}
    known = {SPLIT_FOLDERS[top] for top in tops if top in SPLIT_FOLDERS}
    others = {parts[0].casefold() for parts, _ in found if len(parts) > 1} - set(SPLIT_FOLDERS)
    return ("train" in known and len(known) > 1) or (bool(known) and not others)


def _checked(dataset: Dataset) -> Dataset:
    """The same, with all the examples in the order of their names.

    Raises:
        SourceError: not one labelled image, or only one class.
    """
    source = dataset.source
    if not dataset.examples:
        there = (
            f"{len(dataset.stray):,} images outside of folders of classes"
            if dataset.stray
            else "no image at all"
        )
        empty = f" and the empty folders {', '.join(dataset.empty[:5])}" if dataset.empty else ""
        raise SourceError(
            f"{source}: no labelled image in it; found {there}{empty}. Expected one folder of images for each class, "
            "or a list with the columns path and label."
        )
    if dataset.task == "classification" and len(dataset.classes) < 2:
        empty = f" ({', '.join(dataset.empty[:5])}: no image in it)" if dataset.empty else ""
        raise SourceError(
            f"{source}: one class only, {dataset.classes[0]!r}{empty}; expected two or more. Add a folder of other "
            "images, such as `other`."
        )
    return replace(dataset, examples=tuple(sorted(dataset.examples, key=lambda example: example.key)))
