"""Where labelled images come from: folders of classes, archives of them, lists, and idx files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from feature_extraction.archives import Entry, is_archive
from feature_extraction.items import Tally, printable
from feature_extraction.lists import is_list
from feature_extraction.sources import entries
from finetune.dataset import idx, labelled_lists
from finetune.dataset.examples import SPLIT_WORDS, Dataset, Example
from finetune.dataset.task import Task
from models.errors import SourceError
from models.wording import listed

_EVERY = "\0"  # all splits together; nothing can be called so, while "" comes from unset variables
_Folder = tuple[str, ...]  # the parts of its path below the source


def open_dataset(
    spec: str | os.PathLike[str], task: Task = "classification", *, outside: bool = False
) -> Dataset:
    """The labelled images of a source, to learn from; none of them is read yet.

    `spec` is a folder or zip archive with a folder for each class, perhaps below train, val and test; a CSV, TSV or
    JSON-lines list (`finetune.dataset.labelled_lists`); or a folder with MNIST's idx files. `outside` allows a list to
    name files outside its own folder.

    Raises:
        SourceError: nothing is there, it has no labelled images, or only one class.
        ImageError: the folder itself cannot be listed.
    """
    dataset = _opened(os.fspath(spec), task, outside, _EVERY)
    if task == "classification" and len(dataset.classes) < 2:
        empty = f" ({listed(dataset.empty)}: no image in it)" if dataset.empty else ""
        raise SourceError(
            f"{dataset.source}: one class only, {dataset.classes[0]!r}{empty}; expected two or more. Add a folder of "
            "other images, such as `other`."
        )
    return dataset


def open_split(
    spec: str | os.PathLike[str],
    split: str | None = None,
    task: Task = "classification",
    *,
    outside: bool = False,
) -> Dataset:
    """The labelled images of one split of a source, to measure on; of all of it where there are no splits.

    `spec` and `outside` are those of `open_dataset`. `split` is any word for train, val or test, or the name of any
    folder above the classes.

    Raises:
        SourceError: nothing is there, it has no labelled images, no such split, or splits of which none is chosen.
        ImageError: the folder itself cannot be listed.
    """
    return _opened(os.fspath(spec), task, outside, split)


def _opened(source: str, task: Task, outside: bool, split: str | None) -> Dataset:
    """All examples of a split in the order of their names."""
    path = Path(source)
    if not source:
        raise SourceError(
            "the path is empty; expected a folder, a zip archive or a list. Check how it was written."
        )
    if is_list(path):
        dataset = labelled_lists.from_list(path, task, outside=outside)
    elif task == "regression":
        raise SourceError(
            f"{source}: regression needs a number for each image. Give a CSV or JSON-lines list with the columns path "
            "and target."
        )
    elif idx.holds_idx(path):
        dataset = idx.from_idx(path)
    elif path.is_dir() or is_archive(path):
        dataset, split = _from_folders(path, split)
    else:
        kind = "a file of another kind" if path.exists() else "no such file or folder"
        raise SourceError(
            f"{source}: {kind}; expected a folder or .zip with one folder of images for each class, or a .csv, .tsv or "
            ".jsonl list. Check the path."
        )
    if not dataset.examples:
        stray = (
            f"{len(dataset.stray):,} images outside of folders of classes"
            if dataset.stray
            else "no image at all"
        )
        empty = f" and the empty folders {listed(dataset.empty)}" if dataset.empty else ""
        raise SourceError(
            f"{source}: no labelled image in it; found {stray}{empty}. Expected one "
            "folder of images for each class, or a list with the columns path and label."
        )
    return _chosen(replace(dataset, examples=tuple(sorted(dataset.examples, key=lambda one: one.key))), split)


def _chosen(dataset: Dataset, split: str | None) -> Dataset:
    """The examples of a split alone.

    Raises:
        SourceError: no such split, or there are splits and `split` is None.
    """
    if split == _EVERY:
        return dataset
    splits = ", ".join(sorted({one.split for one in dataset.examples if one.split}))
    if split is None:
        if splits:
            raise SourceError(f"{dataset.source}: has the splits {splits}. Choose one of them with --split.")
        return dataset
    word = SPLIT_WORDS.get(split.casefold())
    examples = tuple(one for one in dataset.examples if one.split is not None and one.split == word)
    if not examples:
        raise SourceError(
            f"{dataset.source}: no image of the split {split!r}; there is {splits or 'no split'}. Choose another."
        )
    labels = {one.label for one in examples}
    return replace(
        dataset, examples=examples, classes=tuple(name for name in dataset.classes if name in labels)
    )


def _from_folders(root: Path, split: str | None) -> tuple[Dataset, str | None]:
    """What folders of classes hold, and which split of it is still to be chosen.

    A folder called `split` lies above the classes, whatever lies beside it.
    """
    tally, folders = Tally(), list[_Folder]()
    images = list(entries(root, tally, folders))
    if split not in _tops(images):
        images, folders = _unwrapped(images, folders)
    splits = _has_splits(images)
    named = split in _tops(images) and not (splits and str(split).casefold() in SPLIT_WORDS)
    if named:
        images, folders = _below(str(split), images, folders)
    depth = int(splits and not named)
    examples: list[Example] = []
    stray: list[str] = []
    for parts, item in images:
        if not parts:  # the folder itself cannot be listed: reading says why
            item.read()
        word = SPLIT_WORDS.get(parts[0].casefold()) if depth else None
        if len(parts) < depth + 2 or (depth and word is None):
            stray.append(item.id)
        else:
            examples.append(
                Example(item, printable(parts[depth]), split=word, name=printable("/".join(parts)))
            )
    full = {example.name.rpartition("/")[0] for example in examples}
    full |= {str(parent) for folder in full for parent in PurePosixPath(folder).parents}
    empty = [
        name
        for parts in sorted(folders)
        if len(parts) == depth + 1
        and (not depth or parts[0].casefold() in SPLIT_WORDS)
        and (name := printable("/".join(parts))) not in full
    ]
    classes = tuple(sorted({example.label for example in examples}))
    source = printable(str(root))
    dataset = Dataset(
        source,
        "classification",
        tuple(examples),
        classes,
        tally.ignored,
        tally.endings,
        tuple(stray),
        tuple(empty),
    )
    return dataset, _EVERY if named else split


def _tops(images: Sequence[Entry]) -> set[str]:
    """The folders at the top in which, or below which, images lie."""
    return {parts[0] for parts, _ in images if len(parts) > 1}


def _below(top: str, images: list[Entry], folders: list[_Folder]) -> tuple[list[Entry], list[_Folder]]:
    """What lies in one folder."""
    return (
        [(parts[1:], item) for parts, item in images if parts[0] == top],
        [parts[1:] for parts in folders if parts[0] == top and len(parts) > 1],
    )


def _unwrapped(images: list[Entry], folders: list[_Folder]) -> tuple[list[Entry], list[_Folder]]:
    """Without the one folder that holds everything, where classes or splits lie in it."""
    tops = _tops(images)
    if len(tops) != 1 or not all(len(parts) > 2 for parts, _ in images):
        return images, folders
    (top,) = tops
    inner = _below(top, images, folders)
    one_split = top.casefold() in SPLIT_WORDS and not _has_splits(inner[0])
    return (images, folders) if one_split else inner


def _has_splits(images: Sequence[Entry]) -> bool:
    """Whether the folders at the top are splits: train and at least one other, or nothing but splits."""
    tops = {parts[0].casefold() for parts, _ in images if len(parts) > 2}
    known = {SPLIT_WORDS[top] for top in tops if top in SPLIT_WORDS}
    others = {top.casefold() for top in _tops(images)} - set(SPLIT_WORDS)
    return ("train" in known and len(known) > 1) or (bool(known) and not others)
