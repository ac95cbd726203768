"""From labelled images to arrays that methods learn from: what is read, what is left out, and what is for what."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_extraction.cache import VectorStore
from finetune.backbone.trunk import Trunk, features_of
from finetune.dataset.duplicates import Group, duplicate_groups
from finetune.dataset.examples import SPLITS, Dataset, Example, Split
from finetune.dataset.scanning import Facts
from finetune.dataset.splitting import assign_splits
from finetune.dataset.unions import Unions
from finetune.job.observing import Stages
from finetune.job.recipe import Recipe
from models.errors import InputError
from models.runtime import Array

_FEWEST = 20  # training images of a class below which a user is warned
_UNEVEN = 10.0  # times as many images in the largest class as in the smallest
_ROWS = 64  # maps averaged at a time


@dataclass(frozen=True)
class Prepared:
    """Images as what the frozen trunk gives for them, with their targets and splits.

    `features`: float32 (N, ...), each image as it is. `views`: float32 (T, V, ...), the training images' versions.
    `targets`: int64 (N,) classes or float32 (N,) numbers. `groups`: int64 (N,), equal for images that may not be torn
    apart. `rows`: for each split its places among the N. `leaks`: places of images for testing or validation that
    have a duplicate among those for training.
    """

    trunk: Trunk
    examples: tuple[Example, ...]
    facts: tuple[Facts, ...]
    classes: tuple[str, ...]
    targets: NDArray[Any]
    groups: NDArray[np.int64]
    rows: dict[Split, NDArray[np.int64]]
    features: Array
    views: Array
    leaks: NDArray[np.int64]
    failed: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]

    def part(self, split: Split) -> tuple[Array, NDArray[Any]]:
        """Features and targets of a split."""
        rows = self.rows[split]
        return self.features[rows], self.targets[rows]


def data_digest(dataset: Dataset, facts: Sequence[Facts]) -> str:
    """A SHA-256 of what the images are and what is said of them."""
    digest = hashlib.sha256()
    for example, fact in zip(dataset.examples, facts, strict=True):
        said = (example.key, example.label, repr(example.target), example.split, example.group)
        digest.update(repr((said, fact.digest.hex())).encode())
    return digest.hexdigest()


def prepare(
    dataset: Dataset,
    facts: Sequence[Facts],
    recipe: Recipe,
    trunk: Trunk,
    stages: Stages,
    *,
    store: VectorStore | None = None,
    threads: int | None = None,
    work: Path | None = None,
) -> Prepared:
    """Run the frozen trunk over all images, split them, and run it over the views of the training images.

    Raises:
        InputError: no image can be read, or nothing is left to train or to validate on.
        ModelError: the network itself fails.
    """
    readable = [i for i, fact in enumerate(facts) if fact.error is None]
    failed = [(dataset.examples[i].item.id, str(facts[i].error)) for i in range(len(facts)) if facts[i].error]
    examples = [dataset.examples[i] for i in readable]
    known = [facts[i] for i in readable]
    if not examples:
        raise InputError(
            f"{dataset.source}: no image could be read out of {len(facts)}. The first: {failed[0][1]}"
        )

    def run(some: Sequence[Example], views: int, name: str) -> tuple[Array, list[tuple[str, str]]]:
        with stages.stage(name, len(some) * views):
            array, failures = features_of(
                trunk,
                [example.item for example in some],
                views,
                seed=recipe.seed,
                flip=recipe.flip,
                store=store,
                threads=threads,
                out=work,
                progress=stages.observer.advance,
            )
        return array, [(image, str(error)) for image, error in failures]

    plain, failures = run(examples, 1, "features")
    if failures:  # decoded for the facts, and yet the network has no answer for it
        lost = {image for image, _ in failures}
        failed += failures
        kept = [i for i, example in enumerate(examples) if example.item.id not in lost]
        examples, known = [examples[i] for i in kept], [known[i] for i in kept]
    features = plain[:, 0]
    with stages.stage("splits"):
        groups = duplicate_groups(known, pooled(features))
        kept_set = dataclasses.replace(dataset, examples=tuple(examples))
        splits = assign_splits(kept_set, groups, val=recipe.val, test=recipe.test, seed=recipe.seed)
    rows = {split: np.array([i for i, s in enumerate(splits) if s == split], np.int64) for split in SPLITS}
    classes, targets, more = _targets(dataset, examples, rows)
    training = [examples[i] for i in rows["train"]]
    if recipe.view_count > 1:
        views, failures = run(training, recipe.view_count, "views")
        if failures:
            raise InputError(f"{failures[0][0]}: changed while it was read ({failures[0][1]}). Run again.")
    else:
        views = features[rows["train"]][:, None]
    leaks = _leaks(groups, splits)
    warnings = [*more, *_warnings(dataset, examples, groups, rows, targets, classes, leaks, failed)]
    return Prepared(
        trunk, tuple(examples), tuple(known), classes, targets, _group_numbers(examples, groups), rows, features,
        views, leaks, tuple(failed), tuple(warnings),
    )  # fmt: skip


def pooled(features: Array) -> Array:
    """Vectors (N, C) of features (N, C) or maps (N, C, H, W): the mean over positions."""
    if features.ndim == 2:
        return features
    parts = [
        features[i : i + _ROWS].mean(axis=tuple(range(2, features.ndim)))
        for i in range(0, len(features), _ROWS)
    ]
    return np.concatenate(parts)


def _targets(
    dataset: Dataset, examples: Sequence[Example], rows: dict[Split, NDArray[np.int64]]
) -> tuple[tuple[str, ...], NDArray[Any], list[str]]:
    """The classes that can be learned, and the target of each image; what cannot be learned leaves its rows."""
    if not len(rows["train"]):
        raise InputError(
            f"{dataset.source}: no image is left to train on; expected some in each class. Add images."
        )
    if dataset.task == "regression":
        if not len(rows["val"]):
            raise InputError(f"{dataset.source}: no image is left for validation; expected some. Add images.")
        targets = np.array([example.target for example in examples], np.float32)
        if not np.ptp(targets[rows["train"]]):
            raise InputError(
                f"{dataset.source}: all images to train on have the same number, {targets[rows['train'][0]]:g}; "
                "expected different ones. Take another column, or subtract what is common to all."
            )
        return (), targets, []
    there = {examples[i].label for i in rows["train"]}
    classes = tuple(name for name in dataset.classes if name in there)
    if len(classes) < 2:
        raise InputError(
            f"{dataset.source}: images to train on are of {len(classes)} class ({', '.join(classes)}); expected at "
            "least two. Add a folder of something else."
        )
    said = []
    if missing := sorted({example.label for example in examples} - there):
        said.append(f"left out, because no image to train on is of it: {_some(missing)}")
        for split, held in rows.items():
            rows[split] = held[[examples[i].label in there for i in held]]
    if not len(rows["val"]):
        raise InputError(
            f"{dataset.source}: no image is left for validation; expected some. Add images, at least three a class."
        )
    index = {name: i for i, name in enumerate(classes)}
    return classes, np.array([index.get(example.label, -1) for example in examples], np.int64), said


def _group_numbers(examples: Sequence[Example], groups: Sequence[Group]) -> NDArray[np.int64]:
    """A number for each image, equal where the user's groups or duplicates bind images together."""
    unions = Unions(len(examples))
    first: dict[str, int] = {}
    for i, example in enumerate(examples):
        if example.group is not None:
            unions.join(first.setdefault(example.group, i), i)
    for group in groups:
        for i in group.indices[1:]:
            unions.join(group.indices[0], i)
    return np.array([unions.root(i) for i in range(len(examples))], np.int64)


def _leaks(groups: Sequence[Group], splits: Sequence[Split]) -> NDArray[np.int64]:
    leaked: set[int] = set()
    for group in groups:
        if any(splits[i] == "train" for i in group.indices):
            leaked.update(i for i in group.indices if splits[i] != "train")
    return np.array(sorted(leaked), np.int64)


def _warnings(
    dataset: Dataset,
    examples: Sequence[Example],
    groups: Sequence[Group],
    rows: dict[Split, NDArray[np.int64]],
    targets: NDArray[Any],
    classes: Sequence[str],
    leaks: NDArray[np.int64],
    failed: Sequence[tuple[str, str]],
) -> list[str]:
    """What a user should know of the images before trusting the numbers."""
    said = list(dataset.warnings())
    if failed:
        said.append(
            f"left out, because they cannot be read: {_images(len(failed))}, the first: {failed[0][1]}"
        )
    exact = sum(len(group.indices) - 1 for group in groups if group.kind == "exact")
    near = sum(len(group.indices) - 1 for group in groups if group.kind == "near")
    if exact or near:
        kept = (
            "the splits of the folders or the list stay" if len(leaks) else "each group stands in one split"
        )
        said.append(f"found {exact:,} exact and {near:,} near duplicates; {kept}")
    if len(leaks):
        said.append(
            f"{_images(len(leaks))} for testing or validation with a duplicate among those for training"
        )
    if dataset.task == "regression":
        return said
    clashes = [
        group
        for group in groups
        if group.kind == "exact" and len({examples[i].label for i in group.indices}) > 1
    ]
    if clashes:
        names = " = ".join(f"{examples[i].item.id} ({examples[i].label})" for i in clashes[0].indices[:2])
        said.append(
            f"{_images(len(clashes))} in more than one class, such as {names}; `graft dataset clean` drops them"
        )
    counts = Counter(int(target) for target in targets[rows["train"]])
    few = [name for i, name in enumerate(classes) if counts[i] < _FEWEST]
    if few:
        said.append(f"fewer than {_FEWEST} images to train on in {_classes(len(few))}: {_some(few)}")
    most, least = max(counts.values()), min(counts.values())
    if most / least >= _UNEVEN:
        said.append(
            f"the largest class has {most / least:,.0f} times the images of the smallest; see --class-weights"
        )
    untested = [
        name for i, name in enumerate(classes) if len(rows["test"]) and i not in targets[rows["test"]]
    ]
    if untested:
        said.append(f"no image for testing in {_classes(len(untested))}: {_some(untested)}")
    return said


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"


def _classes(count: int) -> str:
    return f"{count:,} class{'es' * (count != 1)}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
