"""Labelled images that have not been read yet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from feature_extraction.reading import ImageItem

Split = Literal["train", "val", "test"]
Task = Literal["classification", "regression"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Example:
    """One image with what is to be learned of it."""

    item: ImageItem
    label: str = ""  # id of its class: the folder's name, or the list's column; "" in regression
    target: float = math.nan  # the number to predict; NaN in classification
    split: Split | None = None  # where the folders or the list say so
    group: str | None = None  # images of one group (one patient, one product) never stand on two sides


@dataclass(frozen=True)
class Dataset:
    """The examples of a folder, archive or list, in a fixed order."""

    source: str
    task: Task
    examples: tuple[Example, ...]
    classes: tuple[str, ...]  # sorted; empty in regression
    ignored: int = 0  # files that are no images by their suffix

    @property
    def has_splits(self) -> bool:
        """Whether the folders or the list say which image is for what."""
        return any(example.split is not None for example in self.examples)
