"""What a user should know of the images before trusting the numbers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.dataset.duplicates import Group
from finetune.dataset.examples import Dataset, Example, Split
from models.wording import counted, listed

FEWEST = 20  # training images of a class below which a user is warned
_REASONS = 5  # why images cannot be read, of which each is told
UNEVEN = 10.0  # times as many images in the largest class as in the smallest


def cautions(
    dataset: Dataset,
    examples: Sequence[Example],
    groups: Sequence[Group],
    rows: Mapping[Split, NDArray[np.int64]],
    targets: NDArray[Any],
    classes: Sequence[str],
    leaks: NDArray[np.int64],
    failed: Sequence[tuple[str, str]],
) -> Iterator[str]:
    """A sentence for each; the arguments are those of `Prepared`, `groups` those of its duplicates."""
    yield from dataset.warnings()
    yield from left_out(failed)
    exact = sum(len(group.indices) - 1 for group in groups if group.kind == "exact")
    near = sum(len(group.indices) - 1 for group in groups if group.kind == "near")
    if exact or near:
        kept = (
            "the splits of the folders or the list stay" if len(leaks) else "each group stands in one split"
        )
        yield f"found {exact:,} exact and {near:,} near duplicates; {kept}"
    if len(leaks):
        yield f"{counted(len(leaks), 'image')} for testing or validation with a duplicate among those for training"
    if dataset.task == "regression":
        return
    clashes = [
        group
        for group in groups
        if group.kind == "exact" and len({examples[i].label for i in group.indices}) > 1
    ]
    if clashes:
        names = " = ".join(f"{examples[i].item.id} ({examples[i].label})" for i in clashes[0].indices[:2])
        kind = "with different labels" if dataset.task == "multilabel" else "in more than one class"
        yield (f"{counted(len(clashes), 'image')} {kind}, such as {names}; `graft dataset clean` drops them")
    if dataset.task == "multilabel":
        yield from _of_labels(rows, targets, classes)
        return
    counts = Counter(int(target) for target in targets[rows["train"]])
    few = [name for i, name in enumerate(classes) if counts[i] < FEWEST]
    if few:
        yield f"fewer than {FEWEST} images to train on in {counted(len(few), 'class')}: {listed(few)}"
    most, least = max(counts.values()), min(counts.values())
    if most / least >= UNEVEN:
        yield f"the largest class has {most / least:,.0f} times the images of the smallest; see --class-weights"
    untested = [
        name for i, name in enumerate(classes) if len(rows["test"]) and i not in targets[rows["test"]]
    ]
    if untested:
        yield f"no image for testing in {counted(len(untested), 'class')}: {listed(untested)}"


def _of_labels(
    rows: Mapping[Split, NDArray[np.int64]], targets: NDArray[Any], classes: Sequence[str]
) -> Iterator[str]:
    """What is rare among labels that may hold together; `targets` (N, labels)."""

    def named(places: NDArray[np.bool_]) -> str:
        return listed([name for name, there in zip(classes, places, strict=True) if there])

    train, val, test = (targets[rows[split]].sum(axis=0) for split in ("train", "val", "test"))
    rare = (train < FEWEST) | (len(rows["train"]) - train < FEWEST)
    if rare.any():
        labels = counted(int(rare.sum()), "label")
        yield f"fewer than {FEWEST} images to train on with or without {labels}: {named(rare)}"
    if (untried := val == 0).any():
        yield f"no image for validation has {counted(int(untried.sum()), 'label')}: {named(untried)}"
    if len(rows["test"]) and (untested := test == 0).any():
        yield f"no image for testing has {counted(int(untested.sum()), 'label')}: {named(untested)}"


def left_out(failed: Sequence[tuple[str, str]]) -> Iterator[str]:
    """A sentence for each reason why images, given as (name, error), could not be read, the most frequent first."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for image, error in failed:
        reasons[error.removeprefix(f"{image}: ")].append(image)
    ordered = sorted(reasons.items(), key=lambda reason: -len(reason[1]))
    for reason, images in ordered[:_REASONS]:
        yield f"left out, because it cannot be read: {counted(len(images), 'image')}, {listed(images, 3)}: {reason}"
    rest = sum(len(images) for _, images in ordered[_REASONS:])
    if rest:
        yield f"left out, because they cannot be read for other reasons: {counted(rest, 'image')}"
