"""From labelled images to arrays that methods learn from: what is read, what is left out, and what is for what."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_extraction.byte_store import ByteStore
from finetune.backbone.trunk import Trunk, features_of
from finetune.dataset.duplicates import Group, duplicate_groups
from finetune.dataset.examples import SPLITS, Dataset, Example, Split
from finetune.dataset.label_cells import combination
from finetune.dataset.scanning import Facts
from finetune.dataset.splitting import assign_splits, own_splits
from finetune.dataset.task import Task
from finetune.dataset.unions import Unions
from finetune.job.cautions import cautions
from finetune.job.crossing import Places, crosses, parts_held_out
from finetune.job.observing import Stages
from finetune.job.recipe import Recipe
from finetune.job.variation import variation_warnings
from models.errors import InputError
from models.runtime import Array
from models.wording import counted, listed

_ROWS = 64  # maps averaged at a time


@dataclass(frozen=True)
class Prepared:
    """Images as what the frozen trunk gives for them, with their targets and splits.

    `features`: float32 (N, ...), each image as it is. `views`: float32 (T, V, ...), the training images' versions.
    `targets`: int64 (N,) classes, float32 (N, labels) of 0 and 1, or float32 (N,) numbers. `groups`: int64 (N,), equal
    for images that may not be torn apart. `rows`: for each split its places among the N. `folds`: pairs of places (to
    learn from, to hold out) among those for training, where images are held out in turn and there are none for
    validation; empty where a split is all. `leaks`: places of images for testing or validation that have a duplicate
    among those for training.
    """

    trunk: Trunk
    examples: tuple[Example, ...]
    facts: tuple[Facts, ...]
    classes: tuple[str, ...]
    targets: NDArray[Any]
    groups: NDArray[np.int64]
    rows: dict[Split, NDArray[np.int64]]
    folds: tuple[tuple[Places, Places], ...]
    features: Array
    views: Array
    leaks: NDArray[np.int64]
    failed: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]

    @property
    def task(self) -> Task:
        """What is learned."""
        if not self.classes:
            return "regression"
        return "multilabel" if self.targets.ndim == 2 else "classification"

    @property
    def procedure(self) -> str:
        """Which images are learned from, held out and measured on, in words."""
        train, val, test = (len(self.rows[split]) for split in SPLITS)
        asked = (
            f"; {counted(test, 'image')} for the test had no say in that and were not learned from"
            if test
            else ""
        )
        if not self.folds:
            return (
                f"One split: {counted(train, 'image')} to learn from, {val:,} that chose the settings{asked}. The "
                f"model has learned from the {train:,} alone."
            )
        held = sum(len(held) for _, held in self.folds)
        alone = train - held
        once = (
            f", {counted(alone, 'image')} never, where a class has no other"
            if alone and len(self.folds) > 2
            else ""
        )
        if alone and not once:
            once = ", the others never"
        return (
            f"Cross-fitting: {held:,} of {counted(train, 'image')} were held out once{once}, from {len(self.folds)} "
            f"models that chose the settings{'' if test else ' and were measured'}{asked}. The model itself has "
            f"learned from all {train:,}, with what was chosen."
        )

    def label_texts(self, rows: NDArray[np.int64]) -> list[str] | None:
        """The labels that hold on images at `rows`, as one text each; None where there are none of several."""
        if self.task != "multilabel":
            return None
        held = (
            [name for name, holds in zip(self.classes, self.targets[row], strict=True) if holds]
            for row in rows
        )
        return [combination(names) for names in held]

    def part(self, split: Split) -> tuple[Array, NDArray[Any]]:
        """Features and targets of a split."""
        rows = self.rows[split]
        return self.features[rows], self.targets[rows]


def data_digest(dataset: Dataset, facts: Sequence[Facts]) -> str:
    """A SHA-256 of what the images are and what is said of them."""
    digest = hashlib.sha256()
    for example, fact in zip(dataset.examples, facts, strict=True):
        taught: tuple[Any, ...] = (
            example.key, example.label, repr(example.target), example.split, example.group,
        )  # fmt: skip
        if dataset.task == "multilabel":
            taught = (*taught, example.holding)
        digest.update(repr((taught, fact.digest.hex())).encode())
    return digest.hexdigest()


def prepare(
    dataset: Dataset,
    facts: Sequence[Facts],
    recipe: Recipe,
    trunk: Trunk,
    stages: Stages,
    *,
    store: ByteStore | None = None,
    threads: int | None = None,
    work: Path | None = None,
) -> Prepared:
    """Run the frozen trunk over all images, split them, and run it over the views of the training images.

    Raises:
        InputError: no image can be read, or nothing is left to train or to validate on.
        ModelError: the network itself fails, or gives the same for all images.
    """
    readable = [i for i, fact in enumerate(facts) if fact.error is None]
    failed = [(dataset.examples[i].item.id, str(facts[i].error)) for i in range(len(facts)) if facts[i].error]
    examples = [dataset.examples[i] for i in readable]
    known = [facts[i] for i in readable]
    if not examples:
        raise InputError(
            f"{dataset.source}: no image could be read out of {len(facts)}. The first: {failed[0][1]}"
        )

    def run_trunk(images: Sequence[Example], views: int, name: str) -> tuple[Array, list[tuple[str, str]]]:
        with stages.stage(name, len(images) * views):
            array, failures = features_of(
                trunk,
                [example.item for example in images],
                views,
                seed=recipe.seed,
                flip=recipe.flip,
                store=store,
                threads=threads,
                out=work,
                progress=stages.observer.advance,
            )
        return array, [(image, str(error)) for image, error in failures]

    plain, failures = run_trunk(examples, 1, "features")
    if failures:  # decoded for the facts, and yet the network has no answer for it
        lost = {image for image, _ in failures}
        failed += failures
        kept = [i for i, example in enumerate(examples) if example.item.id not in lost]
        examples, known = [examples[i] for i in kept], [known[i] for i in kept]
    features = plain[:, 0]
    vectors = pooled(features, trunk)
    different = len({fact.digest for fact in known}) > 1
    dull = variation_warnings(vectors, different, trunk.card.name, trunk.cut)
    with stages.stage("splits"):
        groups = duplicate_groups(known, vectors)
        kept_set = dataclasses.replace(dataset, examples=tuple(examples))
        crossed = crosses(kept_set, recipe)
        splits = (
            own_splits(kept_set)
            if crossed
            else assign_splits(kept_set, groups, val=recipe.val, test=recipe.test, seed=recipe.seed)
        )
    bound = Unions.of(examples, groups)
    together = np.array([bound.root(i) for i in range(len(examples))], np.int64)
    rows = {split: np.array([i for i, s in enumerate(splits) if s == split], np.int64) for split in SPLITS}
    classes, targets, unlearned = _targets(dataset, examples, rows)
    folds = parts_held_out(targets, together, rows["train"], bool(classes), recipe.seed) if crossed else []
    if not folds and not len(rows["val"]):
        apart = len(np.unique(together[rows["train"]]))
        copies = (
            f" {len(rows['train']):,} are there, {apart:,} without copies."
            if apart < len(rows["train"])
            else ""
        )
        raise InputError(
            f"{dataset.source}: no image is left for validation; expected some.{copies} Add images, at least "
            f"{'two' if crossed else 'three'}{' a class' if classes else ''}{' that are no copies' if copies else ''}."
        )
    training = [examples[i] for i in rows["train"]]
    if recipe.view_count > 1:
        views, failures = run_trunk(training, recipe.view_count, "views")
        if failures:
            raise InputError(f"{failures[0][0]}: changed while it was read ({failures[0][1]}). Run again.")
    else:
        views = features[rows["train"]][:, None]
    leaks = _leaks(groups, splits)
    warnings = [
        *dull,
        *unlearned,
        *cautions(dataset, examples, groups, rows, targets, classes, leaks, failed),
    ]
    return Prepared(
        trunk, tuple(examples), tuple(known), classes, targets, together, rows, tuple(folds), features,
        views, leaks, tuple(failed), tuple(warnings),
    )  # fmt: skip


def pooled(features: Array, trunk: Trunk) -> Array:
    """Vectors (N, C) of a trunk's features: the mean over positions of maps and tokens."""
    if features.ndim == 2:
        return features
    rows = [features[i : i + _ROWS] for i in range(0, len(features), _ROWS)]
    return np.concatenate([part.mean(axis=trunk.places).reshape(len(part), -1) for part in rows])


def _targets(
    dataset: Dataset, examples: Sequence[Example], rows: dict[Split, NDArray[np.int64]]
) -> tuple[tuple[str, ...], NDArray[Any], list[str]]:
    """The classes that can be learned, and the target of each image; what cannot be learned leaves its rows."""
    if not len(rows["train"]):
        raise InputError(
            f"{dataset.source}: no image is left to train on; expected some in each class. Add images."
        )
    if dataset.task == "regression":
        targets = np.array([example.target for example in examples], np.float32)
        if not np.ptp(targets[rows["train"]]):
            raise InputError(
                f"{dataset.source}: all images to train on have the same number, {targets[rows['train'][0]]:g}; "
                "expected different ones. Take another column, or subtract what is common to all."
            )
        return (), targets, []
    if dataset.task == "multilabel":
        return _label_targets(dataset, examples, rows)
    taught, readable = {examples[i].label for i in rows["train"]}, {example.label for example in examples}
    classes = tuple(name for name in dataset.classes if name in taught)
    unread = [name for name in dataset.classes if name not in readable]
    if len(classes) < 2:
        besides = f"; of {listed(unread)} no image can be read" if unread else ""
        raise InputError(
            f"{dataset.source}: images to train on are of {len(classes)} class ({', '.join(classes)}); expected at "
            f"least two{besides}. {'Save them again' if unread else 'Add a folder of something else'}."
        )
    warnings = []
    if unread:
        warnings.append(f"class left out, because none of its images can be read: {listed(unread)}")
    if untaught := sorted(readable - taught):
        warnings.append(f"left out, because no image to train on is of it: {listed(untaught)}")
        for split, held in rows.items():
            rows[split] = held[[examples[i].label in taught for i in held]]
    index = {name: i for i, name in enumerate(classes)}
    return classes, np.array([index.get(example.label, -1) for example in examples], np.int64), warnings


def _label_targets(
    dataset: Dataset, examples: Sequence[Example], rows: dict[Split, NDArray[np.int64]]
) -> tuple[tuple[str, ...], NDArray[Any], list[str]]:
    """The labels that can be learned, and of each image which of them hold, float32 (N, labels)."""
    if not len(rows["val"]):
        raise InputError(
            f"{dataset.source}: no image is left for validation; expected some. Add images, at least three a label."
        )
    table = np.array(
        [[name in example.holding for name in dataset.classes] for example in examples], np.float32
    )
    counts = table[rows["train"]].sum(axis=0)
    never, always = counts == 0, counts == len(rows["train"])
    warnings = []
    for left, why in (
        (never, "because no image to train on has it"),
        (always, "because every image to train on has it, so that nothing tells it apart"),
    ):
        if left.any():
            names = [name for name, out in zip(dataset.classes, left, strict=True) if out]
            warnings.append(f"label left out, {why}: {listed(names)}")
    kept = ~(never | always)
    classes = tuple(name for name, keep in zip(dataset.classes, kept, strict=True) if keep)
    if not classes:
        raise InputError(
            f"{dataset.source}: not one of its {len(dataset.classes)} labels holds on some images to train on and not "
            f"on others ({'; '.join(warnings)}). Add images with and without them."
        )
    return classes, np.ascontiguousarray(table[:, kept]), warnings


def _leaks(groups: Sequence[Group], splits: Sequence[Split]) -> NDArray[np.int64]:
    leaked: set[int] = set()
    for group in groups:
        if any(splits[i] == "train" for i in group.indices):
            leaked.update(i for i in group.indices if splits[i] != "train")
    return np.array(sorted(leaked), np.int64)
