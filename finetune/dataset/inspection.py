"""All that is to be known of a dataset before anything is trained on it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from finetune.dataset.duplicates import Group, duplicate_groups
from finetune.dataset.embedding import embed
from finetune.dataset.examples import SPLITS, Dataset, taught_by
from finetune.dataset.quality import Flaw, flaws
from finetune.dataset.scanning import Facts, scan
from finetune.dataset.suspicion import Outlier, Suspect, label_errors, out_of_fold, outliers
from models.config import DEFAULT_MODEL
from models.errors import InputError
from models.runtime import RuntimeConfig

Stage = Callable[[int, int], None]  # hears (images done, images in all)


@dataclass(frozen=True)
class Inspection:
    """What was found. Images are given by their positions in `dataset.examples`; `facts` has one entry for each."""

    dataset: Dataset
    facts: Sequence[Facts]
    groups: Sequence[Group]
    model: str | None = None  # whose embeddings were used; None where there were none
    accuracy: float | None = None  # of the models that looked for wrong labels, on images they had not seen
    suspects: Sequence[Suspect] = ()
    outliers: Sequence[Outlier] = ()
    flaws: Sequence[Flaw] = ()

    @cached_property
    def counts(self) -> dict[str, int]:
        """Images of each class or label, all splits together."""
        images = Counter(name for example in self.dataset.examples for name in taught_by(example))
        return {name: images[name] for name in self.dataset.classes}

    @cached_property
    def split_counts(self) -> dict[str, Counter[str]]:
        """Images of each class or label in each split that there is."""
        counts: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        for example in self.dataset.examples:
            if example.split is not None:
                counts[example.split].update(taught_by(example) if self.dataset.classes else [""])
        return {split: counted for split, counted in counts.items() if counted}

    @cached_property
    def split_images(self) -> dict[str, int]:
        """How many images each split has."""
        images = Counter(example.split for example in self.dataset.examples)
        return {split: images[split] for split in SPLITS if images[split]}

    @property
    def imbalance(self) -> float:
        """Images of the largest class for each of the smallest."""
        return max(self.counts.values()) / min(self.counts.values()) if self.counts else 1.0

    @property
    def effective_classes(self) -> float:
        """How many classes of equal size would be as varied: the exponential of the entropy of the shares.

        Source: Hill 1973, "Diversity and evenness", of order 1.
        """
        shares = np.array(list(self.counts.values()), np.float64) / max(1, sum(self.counts.values()))
        return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else math.nan

    @cached_property
    def unreadable(self) -> list[int]:
        """Images that cannot be read; their facts say why."""
        return [i for i, one in enumerate(self.facts) if one.error is not None]

    @cached_property
    def defects(self) -> Counter[str]:
        """How many images have each kind of flaw."""
        return Counter(flaw.defect for flaw in self.flaws)

    @cached_property
    def across(self) -> list[Group]:
        """Copies that stand in more than one split: what is measured there is too good."""
        return [
            group for group in self.groups if len({self.dataset.examples[i].split for i in group.indices}) > 1
        ]

    @cached_property
    def conflicts(self) -> list[Group]:
        """Copies with different labels."""
        return [
            group for group in self.groups if len({self.dataset.examples[i].label for i in group.indices}) > 1
        ]


def inspect(
    dataset: Dataset,
    model: str | Path | None = DEFAULT_MODEL,
    config: RuntimeConfig | None = None,
    *,
    threads: int | None = None,
    progress: Callable[[str], Stage] | None = None,
) -> Inspection:
    """Read all images, look for copies and flaws, and with a `model`'s embeddings for wrong labels and outliers.

    With `model=None` no network runs: copies are proposed by their hashes alone, and labels are not judged. `progress`
    is told the name of each stage and gives what hears of its images.

    Raises:
        InputError: not one image can be read.
        GraftError: as `models.features.open_features`.
    """
    stage = progress or (lambda name: lambda done, total: None)
    facts = scan(dataset.examples, threads, stage("read"))
    readable = [i for i, one in enumerate(facts) if one.error is None]
    if not readable:
        raise InputError(
            f"{dataset.source}: not one of {len(facts):,} images can be read. The first: {facts[0].error}"
        )
    flawed = flaws(dataset.examples, facts, threads=threads, progress=stage("sharpness"))
    if model is None:
        return Inspection(dataset, facts, duplicate_groups(facts), flaws=flawed)
    vectors = embed([dataset.examples[i] for i in readable], model, config, progress=stage("embed"))
    embeddings = np.full((len(facts), vectors.shape[1]), np.nan, np.float32)
    embeddings[readable] = vectors
    groups = duplicate_groups(facts, embeddings)
    if dataset.task != "classification":  # wrong labels and outliers are looked for within classes
        return Inspection(dataset, facts, groups, str(model), flaws=flawed)
    likely = out_of_fold(dataset, embeddings, groups)
    if likely is None:
        strangers = outliers(dataset, embeddings, groups)
        return Inspection(dataset, facts, groups, str(model), outliers=strangers, flaws=flawed)
    judged = np.isfinite(likely).all(axis=1)
    right = likely[judged].argmax(axis=1) == dataset.labels[judged]
    return Inspection(
        dataset,
        facts,
        groups,
        str(model),
        float(right.mean()) if judged.any() else None,
        label_errors(dataset, likely),
        outliers(dataset, embeddings, groups),
        flawed,
    )
