"""What can be told about an ONNX network that came without a word, and the sentences that admit the guess."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from models.card import Label
from models.errors import InputError
from models.labels import imagenet_labels, labels_beside, labels_in, read_labels

T = TypeVar("T")


@dataclass
class Guesses:
    """What was guessed, and what else an import has to say, as sentences for the user."""

    _notes: list[str] = field(default_factory=list)

    def take(self, value: T, sentence: str) -> T:
        """Note a guess and return its value; names in it come from the file and may hold anything."""
        self.note(f"guessed: {sentence}")
        return value

    def note(self, sentence: str) -> None:
        """Note what was computed, passed over or left out."""
        self._notes.append("".join(sign if sign.isprintable() else "?" for sign in sentence))

    @property
    def notes(self) -> tuple[str, ...]:
        """All sentences, in order."""
        return tuple(self._notes)


def label_counts(path: Path, metadata: Mapping[str, str]) -> list[int]:
    """How many labels the metadata of a file, and each file beside it, has."""
    inside = labels_in(metadata)
    counts = [] if inside is None else [len(inside[1])]
    for beside in labels_beside(path):
        with contextlib.suppress(InputError):
            counts.append(len(read_labels(beside)))
    return counts


def guess_labels(
    path: Path, metadata: Mapping[str, str], classes: int, guesses: Guesses
) -> tuple[Label, ...]:
    """Labels from the file's metadata or a file beside it, else ImageNet's for 1,000 or 1,001 classes, else numbers."""
    inside = labels_in(metadata)
    if inside is not None:
        key, labels = inside
        if len(labels) == classes:
            return guesses.take(labels, f"labels from its metadata, {key!r} (--labels)")
        guesses.note(
            f"its metadata {key!r} has {len(labels)} labels for {classes} classes: not used (--labels)"
        )
    for beside in labels_beside(path):
        try:
            labels = read_labels(beside)
        except InputError:
            if beside.suffix == ".json":  # many tools write a config.json, of something else
                continue
            raise
        if len(labels) == classes:
            return guesses.take(labels, f"labels from {beside.name} (--labels)")
        guesses.note(
            f"{beside.name} beside it has {len(labels)} labels for {classes} classes: not used (--labels)"
        )
    if classes in (1000, 1001):
        background = ", with TensorFlow's background class" if classes == 1001 else ""
        sentence = f"{classes:,} outputs are ImageNet's classes{background} (--labels)"
        return guesses.take(imagenet_labels(classes), sentence)
    numbers = tuple(Label(str(i), f"class {i}") for i in range(classes))
    return guesses.take(numbers, f"{classes} classes without names (--labels)")
