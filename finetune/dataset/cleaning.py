"""A list of the images that are fit to train on; the images themselves are not touched."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from finetune.dataset.duplicates import Group
from finetune.dataset.examples import Example
from finetune.dataset.inspection import Inspection
from models.files import csv_bytes, write_atomically

Choice = Literal["near", "labels", "outliers", "flaws"]
Reason = Literal["unreadable", "different labels", "copy", "near copy", "suspected label", "outlier", "flaw"]
_ORDER = ("test", "val", "train", None)  # a copy is kept where it measures


@dataclass(frozen=True)
class Exclusion:
    """An image that is not in the list, why, and which other image or fact is the reason."""

    index: int
    reason: Reason
    detail: str


def exclusions(inspection: Inspection, drop: Collection[Choice] = ()) -> list[Exclusion]:
    """The images that are not in a clean list, in the order of the examples.

    Always: what cannot be read, copies with different labels (all of them), and exact copies but one. By choice: near
    copies but one, suspected labels, outliers, flaws. Of copies the one in the test is kept, then val, then train.
    """
    excluded: dict[int, Exclusion] = {}

    def exclude(index: int, reason: Reason, detail: str) -> None:
        excluded.setdefault(index, Exclusion(index, reason, detail))

    for i in inspection.unreadable:
        exclude(i, "unreadable", inspection.facts[i].error or "")
    for group in inspection.conflicts:
        for i in group.indices:
            others = [inspection.dataset.examples[j] for j in group.indices if j != i]
            exclude(i, "different labels", "; ".join(f"{other.label}: {other.key}" for other in others))
    for group in inspection.groups:
        _exclude_copies(inspection, group, "near" in drop, exclude)
    if "labels" in drop:
        for suspect in inspection.suspects:
            exclude(suspect.index, "suspected label", f"looks like {suspect.predicted}")
    if "outliers" in drop:
        for outlier in inspection.outliers:
            exclude(outlier.index, "outlier", f"{outlier.distance:.3f} away, {outlier.typical:.3f} is usual")
    if "flaws" in drop:
        for flaw in inspection.flaws:
            exclude(flaw.index, "flaw", f"{flaw.defect}: {flaw.detail}")
    return [excluded[i] for i in sorted(excluded)]


def write_list(out: Path, inspection: Inspection, excluded: Collection[Exclusion]) -> Path:
    """Write the list, and beside it `NAME.left-out.csv` with the rest and the reasons; returns the path of that.

    Columns: path (below the list's folder where the image is), label or target, split, group, and id, the name within
    the source, so that a later split falls as it would without the list. Near copies that stay share a group.

    Raises:
        OutputError: the disk is full or the folder is not writable.
    """
    gone = {exclusion.index for exclusion in excluded}
    examples = inspection.dataset.examples
    groups = _group_names(inspection, gone)
    regression = inspection.dataset.task == "regression"
    header = ("path", "target" if regression else "label", "split", "group", "id")
    rows = [
        (
            reference(example, out),
            repr(example.target) if regression else example.label,
            example.split or "",
            groups.get(i, ""),
            example.key,
        )
        for i, example in enumerate(examples)
        if i not in gone
    ]
    beside = out.with_name(f"{out.stem}.left-out.csv")
    write_atomically(out, csv_bytes(header, rows))
    rest = [
        (reference(examples[o.index], out), examples[o.index].label, o.reason, o.detail) for o in excluded
    ]
    write_atomically(beside, csv_bytes(("path", "label", "reason", "detail"), rest))
    return beside


def reference(example: Example, out: Path) -> str:
    """The path of an image from the folder of a list; absolute where the image does not lie below it."""
    path, folder = os.path.abspath(example.item.id), os.path.abspath(out.parent)
    inside = path.startswith(folder.rstrip(os.sep) + os.sep)
    return os.path.relpath(path, folder) if inside else path


def _exclude_copies(
    inspection: Inspection, group: Group, near: bool, exclude: Callable[[int, Reason, str], None]
) -> None:
    ordered = sorted(group.indices, key=lambda i: (_ORDER.index(inspection.dataset.examples[i].split), i))
    kept: dict[bytes, int] = {}
    for i in ordered:
        digest = inspection.facts[i].digest
        first = kept.setdefault(digest, i)
        if first != i:
            exclude(i, "copy", f"of {inspection.dataset.examples[first].key}")
        elif near and i != ordered[0]:
            exclude(i, "near copy", f"of {inspection.dataset.examples[ordered[0]].key}")


def _group_names(inspection: Inspection, gone: Collection[int]) -> dict[int, str]:
    """The group of each image that has one: its own, or the first of its copies that are all in the list."""
    names = {i: one.group for i, one in enumerate(inspection.dataset.examples) if one.group is not None}
    for group in inspection.groups:
        left = [i for i in group.indices if i not in gone]
        if len(left) > 1:
            own = sorted({names[i] for i in left if i in names})
            for old in own[1:]:  # groups that share a picture are one
                names |= {i: own[0] for i, name in names.items() if name == old}
            name = own[0] if own else f"copies of {inspection.dataset.examples[left[0]].key}"
            names |= dict.fromkeys(left, name)
    return names


def reason_counts(excluded: Collection[Exclusion]) -> dict[str, int]:
    """How many images are left out for each reason that there is."""
    counted = Counter(exclusion.reason for exclusion in excluded)
    return {reason: counted[reason] for reason in get_args(Reason) if counted[reason]}
