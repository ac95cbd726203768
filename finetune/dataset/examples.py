"""Labelled images that have not been read yet."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from feature_extraction.items import ImageItem, passed_over
from finetune.dataset.task import Task
from models.wording import listed

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
# How folders and lists call them, in lower case.
_SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
_OF_A_SPLIT = re.compile(r"[\s_-]*(set|data|images|photos)$")
_JOINTS = re.compile(r"[\s_-]+")  # what parts the words of a name
_SHOWN = 3  # names that are alike, of which a warning tells


def split_of(name: str) -> Split | None:
    """The split that a folder or a cell names: `train`, `Validation`, `test_set`, `train images` ..."""
    return _SPLIT_WORDS.get(_OF_A_SPLIT.sub("", name.strip().casefold()))


@dataclass(frozen=True, slots=True)
class Example:
    """One image with what is to be learned of it."""

    item: ImageItem
    label: str = ""  # id of its class: the folder's name, or the list's column; "" in regression
    target: float = math.nan  # the number to predict; NaN in classification
    split: Split | None = None  # where the folders or the list say so
    group: str | None = None  # images of one group (one patient, one product) never stand on two sides
    name: str = ""  # within the source: the same wherever the source lies; "" where it is the item's id
    holding: tuple[
        str, ...
    ] = ()  # in multilabel, ids of the labels that hold, sorted; `label` is all of them

    @property
    def key(self) -> str:
        """What the image is called within its source, which decides on which side of a split it stands."""
        return self.name or self.item.id


@dataclass(frozen=True)
class Dataset:
    """The examples of a folder, archive or list, in a fixed order."""

    source: str
    task: Task
    examples: tuple[Example, ...]
    classes: tuple[str, ...]  # or labels, sorted; empty in regression
    ignored: int = 0  # files that are hidden or no images by their endings, and hidden folders
    endings: Mapping[str, int] = field(default_factory=dict)  # of these
    stray: tuple[str, ...] = ()  # images that lie outside the classes' folders
    empty: tuple[str, ...] = ()  # classes' folders without an image
    notes: tuple[str, ...] = ()  # what was guessed of its layout, a sentence each

    @property
    def has_splits(self) -> bool:
        """Whether the folders or the list say which image is for what."""
        return any(example.split is not None for example in self.examples)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Index of each example's class, (N,); of a classification alone."""
        index = {name: i for i, name in enumerate(self.classes)}
        return np.array([index[example.label] for example in self.examples], np.int64)

    @property
    def labels_held(self) -> list[tuple[ImageItem, tuple[str, ...]]]:
        """Each image with the ids of the labels that hold, as `evaluate_multilabel` takes them."""
        return [(example.item, example.holding) for example in self.examples]

    @property
    def labelled(self) -> list[tuple[ImageItem, str]]:
        """Each image with the id of its class, as `evaluate` takes them."""
        return [(example.item, example.label) for example in self.examples]

    @property
    def numbered(self) -> list[tuple[ImageItem, float]]:
        """Each image with its number, as `evaluate_regression` takes them."""
        return [(example.item, example.target) for example in self.examples]

    def warnings(self) -> tuple[str, ...]:
        """What a person should know before training on it, a sentence each."""
        return tuple(_warnings(self))


def taught_by(example: Example) -> tuple[str, ...]:
    """The classes or labels that an image is an example of."""
    return example.holding or ((example.label,) if example.label else ())


def _warnings(dataset: Dataset) -> Iterator[str]:
    yield from dataset.notes
    counts = Counter(name for example in dataset.examples for name in taught_by(example))
    if dataset.empty:
        yield f"{listed(dataset.empty)}: no image in {_these(dataset.empty, 'this folder', 'these folders')}."
    single = sorted(name for name in dataset.classes if counts[name] == 1)
    if single:
        yield f"{listed(single)}: one image only; it can be learned or measured, not both. Add some."
    if alike := _alike(dataset.classes):
        kind = "label" if dataset.task == "multilabel" else "class"
        yield (
            f"{'; '.join(listed(names) for names in alike[:_SHOWN])}{' and others' * (len(alike) > _SHOWN)}: differ in "
            f"capitals, spaces or dashes alone, and each is a {kind} of its own. Give them one name if one is meant."
        )
    if dataset.has_splits and dataset.classes:
        taught = {
            name for example in dataset.examples if example.split == "train" for name in taught_by(example)
        }
        untaught = sorted(set(dataset.classes) - taught)
        if untaught:
            word = "label" if dataset.task == "multilabel" else "class"
            yield f"{listed(untaught)}: no image for training. Put some into train, or leave the {word} out."
    if dataset.stray:
        yield f"{len(dataset.stray):,} images outside the classes' folders are not used, such as {dataset.stray[0]}."
    if dataset.ignored:
        yield f"{passed_over(dataset.ignored, dataset.endings)} passed over: hidden, or no images by their endings."


def _alike(classes: Sequence[str]) -> list[list[str]]:
    """Names that a slip may have made of one, together."""
    spellings: dict[str, list[str]] = {}
    for name in classes:
        spellings.setdefault(_JOINTS.sub("", name).casefold() or name, []).append(name)
    return [names for names in spellings.values() if len(names) > 1]


def _these(names: Sequence[str], one: str, several: str) -> str:
    return one if len(names) == 1 else several
