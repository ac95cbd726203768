"""What is to be known of a dataset's photos while they are added: copies, flaws, classes that are small or uneven."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from finetune.dataset.duplicates import Group, duplicate_groups
from finetune.dataset.hashing import GRID, hashes
from finetune.dataset.scanning import Facts
from finetune.job.cautions import FEWEST, UNEVEN
from finetune.pages.formatting import quoted
from models.wording import counted, listed
from service.jobs.answers import Remark
from service.jobs.database import Row
from service.jobs.datasets import Class, Datasets
from service.jobs.images import Images

_SHOWN = 50  # images that a warning names
_REST = 9  # looking takes one part in ten of the time, however fast photos come in


@dataclass(frozen=True)
class Hygiene:
    """What was found in a dataset when it had this revision; `flags` by the ids of images."""

    revision: int
    warnings: Sequence[Remark] = ()
    flags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # Of an image the first one that it is a copy of.
    duplicates: Mapping[str, str] = field(default_factory=dict)
    began: float = 0.0
    ended: float = 0.0


class Inspector:
    """Looks at datasets, and remembers what it found until they change."""

    def __init__(self, datasets: Datasets, images: Images) -> None:
        self._datasets, self._images = datasets, images
        self._known: dict[str, Hygiene] = {}
        self._facts: dict[str, dict[str, Facts]] = {}  # by dataset and image
        self._looking = threading.Lock()

    def hygiene(self, dataset: str, *, patient: bool = True) -> Hygiene:
        """What is to be known of a dataset. One who is not `patient` may hear of an earlier revision of a large one.

        Raises:
            MissingError: there is none of that id.
        """
        with self._looking:
            revision, known = self._datasets.row(dataset)["revision"], self._known.get(dataset)
            if known is not None:
                waited, took = time.monotonic() - known.ended, known.ended - known.began
                if known.revision == revision or (not patient and waited < _REST * took):
                    return known
            self._known[dataset] = known = self._look(dataset, revision)
            return known

    def forget(self, dataset: str) -> None:
        """The dataset is gone."""
        with self._looking:
            self._known.pop(dataset, None)
            self._facts.pop(dataset, None)

    def _look(self, dataset: str, revision: int) -> Hygiene:
        began = time.monotonic()
        rows, classes = self._images.images(dataset), self._datasets.classes(dataset)
        facts = self._facts[dataset] = self._facts_of(dataset, rows)
        rows = [row for row in rows if row["id"] in facts]
        groups = duplicate_groups(list(facts.values()))
        flags: dict[str, list[str]] = {row["id"]: [row["flaw"]] for row in rows if row["flaw"]}
        duplicates: dict[str, str] = {}
        for group in groups:
            first, *others = (rows[i] for i in group.indices)
            duplicates |= {row["id"]: first["id"] for row in others}
            labels = {rows[i]["class"] for i in group.indices}
            for i in group.indices:
                flags.setdefault(rows[i]["id"], []).append("conflict" if len(labels) > 1 else "duplicate")
        warnings = [
            *_of_classes(classes),
            *_of_copies(rows, groups),
            *_of_flaws(rows),
            *(Remark(kind=row["kind"], message=row["message"]) for row in self._datasets.remarks(dataset)),
        ]
        return Hygiene(revision, warnings, flags, duplicates, began, time.monotonic())

    def _facts_of(self, dataset: str, rows: Sequence[Row]) -> dict[str, Facts]:
        """What is known of images, by their ids; those that were deleted meanwhile are missing."""
        before = self._facts.get(dataset, {})
        first = next((row["number"] for row in rows if row["id"] not in before), None)
        pixels = {} if first is None else self._images.pixels(dataset, first)
        return {
            row["id"]: before.get(row["id"]) or _facts_of(row, pixels[row["id"]])
            for row in rows
            if row["id"] in before or row["id"] in pixels
        }


def _facts_of(row: Row, small: bytes) -> Facts:
    """What the record of an image and its small version know, as a scan would have told it."""
    pixels = np.frombuffer(small, np.uint8).reshape(GRID, GRID, 3)
    return Facts(
        row["digest"],
        row["width"],
        row["height"],
        row["mode"],
        row["format"],
        row["bytes"],
        hashes(pixels),
        pixels,
    )


def _of_classes(classes: Sequence[Class]) -> Iterator[Remark]:
    if len(classes) < 2:
        yield {"kind": "classes", "message": "A model needs two classes or more to tell apart; add another."}
    if empty := [quoted(one.name) for one in classes if not one.count]:
        yield {"kind": "empty", "message": f"{listed(empty)}: no image yet."}
    few = [f"{quoted(one.name)} has {one.count}" for one in classes if 0 < one.count < FEWEST]
    if few:
        yield {
            "kind": "few",
            "message": f"Fewer than {FEWEST} images: {listed(few)}. Some are kept to measure with, so add more.",
        }
    counts = [one.count for one in classes if one.count]
    if len(counts) > 1 and max(counts) / min(counts) >= UNEVEN:
        yield {
            "kind": "unbalanced",
            "message": f"The largest class has {max(counts) / min(counts):,.0f} times the images of the smallest; add "
            "images to the small ones, or train with class_weights.",
        }


def _of_copies(rows: Sequence[Row], groups: Sequence[Group]) -> Iterator[Remark]:
    conflicts = [group for group in groups if len({rows[i]["class"] for i in group.indices}) > 1]
    if conflicts:
        first = conflicts[0]
        names = sorted({quoted(rows[i]["class_name"]) for i in first.indices})
        yield {
            "kind": "conflict",
            "message": f"{counted(len(conflicts), 'photo')} in more than one class, such as "
            f"{rows[first.indices[0]]['name']} in {' and '.join(names[:3])}. Delete it from the wrong one.",
            "images": [rows[i]["id"] for group in conflicts for i in group.indices][:_SHOWN],
        }
    for kind, words in (("exact", "the very same file"), ("near", "nearly the same picture")):
        copies = [i for group in groups if group.kind == kind for i in group.indices[1:]]
        if copies:
            yield {
                "kind": f"{kind}_duplicates",
                "message": f"{counted(len(copies), 'photo')} there already ({words}). Copies are kept on one side when "
                "the model is measured; they teach nothing new.",
                "images": [rows[i]["id"] for i in copies[:_SHOWN]],
            }


def _of_flaws(rows: Sequence[Row]) -> Iterator[Remark]:
    counts = Counter(row["flaw"] for row in rows if row["flaw"])
    for flaw, count in counts.most_common():
        flawed = [row for row in rows if row["flaw"] == flaw]
        yield {
            "kind": flaw.replace(" ", "_"),
            "message": f"{counted(count, 'photo')}: {flaw}, such as {flawed[0]['name']} ({flawed[0]['detail']}).",
            "images": [row["id"] for row in flawed[:_SHOWN]],
        }
