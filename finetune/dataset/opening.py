"""Where labelled images come from: folders of classes, archives of them, lists, and idx files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from feature_extraction.archives import Entry, is_archive, is_tar
from feature_extraction.items import Tally, printable
from feature_extraction.lists import is_list
from feature_extraction.sources import entries
from finetune.dataset import idx, labelled_lists, labelling_tools
from finetune.dataset.examples import Dataset, Example, split_of, taught_by
from finetune.dataset.layout import (
    check_level,
    has_splits,
    merged,
    nested,
    refuse_splits_without_classes,
    splits_without_classes,
    tops_of,
)
from finetune.dataset.list_options import ListOptions
from finetune.dataset.metadata import from_metadata, lists_beside, refuse_options, unused
from finetune.dataset.task import Task
from models.errors import SourceError
from models.wording import composed, listed

_EVERY = "\0"  # all splits together; nothing can be called so, while "" comes from unset variables
_NEEDS_LIST = {
    "regression": "{}: regression needs a number for each image. Give a CSV or JSON-lines list with path and target.",
    "multilabel": "{}: multilabel needs the labels of each image, and a folder of images names one class. Give a CSV "
    "or JSON-lines list with path and labels, such as hat;red, or with a column of 0 and 1 for each label.",
}
_Folder = tuple[str, ...]  # the parts of its path below the source


def open_dataset(
    spec: str | os.PathLike[str],
    task: Task = "classification",
    *,
    outside: bool = False,
    lists: ListOptions | None = None,
) -> Dataset:
    """The labelled images of a source, to learn from; none of them is read yet.

    `spec` is a folder, a zip or tar archive with a folder for each class, perhaps below train, val and test; a list or
    an export of a labelling tool (`finetune.dataset.labelled_lists`), or a folder of photos with one beside them; or a
    folder with MNIST's idx files. `outside` allows a list to name files outside its own folder, `lists` says how it is
    read.

    Raises:
        SourceError: nothing is there, it has no labelled images, only one class, or folders that are no classes.
        ImageError: the folder itself cannot be listed.
    """
    dataset = _opened(os.fspath(spec), task, outside, lists or ListOptions(), _EVERY)
    if task == "classification" and len(dataset.classes) < 2:
        empty = f" ({listed(dataset.empty)}: no image in it)" if dataset.empty else ""
        raise SourceError(
            f"{dataset.source}: one class only, {dataset.classes[0]!r}{empty}; expected two or more. Add a folder of "
            "other images, such as `other`."
        )
    if task == "multilabel" and not dataset.classes:
        raise SourceError(
            f"{dataset.source}: no image has a label; expected some. Fill the column of labels."
        )
    return dataset


def open_split(
    spec: str | os.PathLike[str],
    split: str | None = None,
    task: Task = "classification",
    *,
    outside: bool = False,
    lists: ListOptions | None = None,
) -> Dataset:
    """The labelled images of one split of a source, to measure on; of all of it where there are no splits.

    `spec`, `outside` and `lists` are as for `open_dataset`. `split` is any word for train, val or test, or the name of
    any folder above the classes.

    Raises:
        SourceError: nothing is there, it has no labelled images, no such split, or splits of which none is chosen.
        ImageError: the folder itself cannot be listed.
    """
    return _opened(os.fspath(spec), task, outside, lists or ListOptions(), split)


def _opened(source: str, task: Task, outside: bool, lists: ListOptions, split: str | None) -> Dataset:
    """All examples of a split in the order of their names."""
    path = Path(source)
    if not source:
        raise SourceError(
            "the path is empty; expected a folder, an archive or a list. Check how it was written."
        )
    if is_list(path) or labelling_tools.is_export(path):
        dataset = labelled_lists.from_list(path, task, outside=outside, lists=lists)
    elif idx.holds_idx(path) and task == "classification":
        refuse_options(source, lists)
        dataset = idx.from_idx(path)
    elif path.is_dir() or is_archive(path) or is_tar(path):
        dataset, split = _from_folder(path, task, outside, lists, split)
    elif task != "classification" and path.exists():
        raise SourceError(_NEEDS_LIST[task].format(source))
    else:
        kind = "a file of another kind" if path.exists() else "no such file or folder"
        raise SourceError(
            f"{source}: {kind}; expected a folder, .zip or .tar with one folder of images for each class, a .csv, "
            ".tsv or .jsonl list, or a labelling tool's .json or .xml. Check the path."
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
    word = split_of(split)
    examples = tuple(one for one in dataset.examples if one.split is not None and one.split == word)
    if not examples:
        raise SourceError(
            f"{dataset.source}: no image of the split {split!r}; there is {splits or 'no split'}. Choose another."
        )
    labels = {name for one in examples for name in taught_by(one)}
    return replace(
        dataset, examples=examples, classes=tuple(name for name in dataset.classes if name in labels)
    )


def _from_folder(
    root: Path, task: Task, outside: bool, lists: ListOptions, split: str | None
) -> tuple[Dataset, str | None]:
    """What a folder or archive holds, and which split of it is still to be chosen.

    A list beside the photos says their labels where folders do not.
    """
    tally, folders = Tally(), list[_Folder]()
    images = list(entries(root, tally, folders))
    beside = lists_beside(root) if root.is_dir() else []
    if beside and (task != "classification" or not _folders_are_classes(images)):
        dataset = from_metadata(root, beside, images, task, outside=outside, lists=lists)
        return replace(dataset, ignored=tally.ignored, endings=tally.endings), split
    if task != "classification":
        raise SourceError(_NEEDS_LIST[task].format(printable(str(root))))
    refuse_options(printable(str(root)), lists)
    dataset, split = _from_folders(root, images, folders, tally, split)
    notes = (*dataset.notes, *([unused(beside)] if beside else ()), *tally.links)
    return replace(dataset, notes=notes), split


def holds_lists(spec: str | os.PathLike[str]) -> bool:
    """Whether a list says what is to be learned of the images of a source, and not their folders."""
    path = Path(os.fspath(spec))
    if is_list(path) or labelling_tools.is_export(path):
        return True
    return (
        path.is_dir()
        and bool(lists_beside(path))
        and not _folders_are_classes(list(entries(path, Tally(), [])))
    )


def _folders_are_classes(images: Sequence[Entry]) -> bool:
    """Whether two folders or more may be classes, splits left aside."""
    images, _ = _unwrapped(list(images), [])
    depth = int(has_splits(images))
    labels = {parts[depth] for parts, _ in images if len(parts) > depth + 1}
    return len(labels) > 1 and not splits_without_classes(images)


def _from_folders(
    root: Path, images: list[Entry], folders: list[_Folder], tally: Tally, split: str | None
) -> tuple[Dataset, str | None]:
    """What folders of classes hold, and which split of it is still to be chosen.

    A folder called `split` lies above the classes, whatever lies beside it.
    """
    source = printable(str(root))
    if split not in tops_of(images):
        images, folders = _unwrapped(images, folders)
    splits = has_splits(images)
    named = split in tops_of(images) and not (splits and split_of(str(split)))
    if named:
        images, folders = _below(str(split), images, folders)
    elif flat := splits_without_classes(images):
        refuse_splits_without_classes(source, flat)
    elif not splits:
        check_level(source, images)
    depth = int(splits and not named)
    examples: list[Example] = []
    stray: list[str] = []
    spellings: dict[str, set[str]] = {}
    for parts, item in images:
        if not parts:  # the folder itself cannot be listed: reading says why
            item.read()
        word = split_of(parts[0]) if depth else None
        if len(parts) < depth + 2 or (depth and word is None):
            stray.append(item.id)
        else:
            name = composed(printable("/".join(parts)))
            label = composed(printable(parts[depth]))
            spellings.setdefault(label, set()).add(parts[depth])
            examples.append(Example(item, label, split=word, name=name))
    full = {example.name.rpartition("/")[0] for example in examples}
    full |= {str(parent) for folder in full for parent in PurePosixPath(folder).parents}
    empty = [
        name
        for parts in sorted(folders)
        if len(parts) == depth + 1
        and (not depth or split_of(parts[0]))
        and (name := composed(printable("/".join(parts)))) not in full
    ]
    dataset = Dataset(
        source,
        "classification",
        tuple(examples),
        tuple(sorted({example.label for example in examples})),
        tally.ignored,
        tally.endings,
        tuple(stray),
        tuple(empty),
        (*nested(images, depth), *merged(spellings)),
    )
    return dataset, _EVERY if named else split


def _below(top: str, images: list[Entry], folders: list[_Folder]) -> tuple[list[Entry], list[_Folder]]:
    """What lies in one folder."""
    return (
        [(parts[1:], item) for parts, item in images if parts[0] == top],
        [parts[1:] for parts in folders if parts[0] == top and len(parts) > 1],
    )


def _unwrapped(images: list[Entry], folders: list[_Folder]) -> tuple[list[Entry], list[_Folder]]:
    """Without the one folder that holds everything, where classes or splits lie in it."""
    tops = tops_of(images)
    if len(tops) != 1 or not all(len(parts) > 2 for parts, _ in images):
        return images, folders
    (top,) = tops
    inner = _below(top, images, folders)
    one_split = split_of(top) is not None and not has_splits(inner[0])
    return (images, folders) if one_split else inner
