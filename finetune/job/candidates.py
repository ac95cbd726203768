"""Several backbones tried on the same images, before one of them is fine-tuned: a light head on the features of each.

Each image that is not for the test is answered by a head that has not learned from it (cross-fitting), so that the
answers of all backbones are of the same images. The test images choose nothing.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feature_extraction.byte_store import ByteStore
from finetune.backbone.trunk import Trunk, features_of
from finetune.dataset.duplicates import duplicate_groups
from finetune.dataset.examples import Dataset, Example
from finetune.dataset.scanning import Facts
from finetune.dataset.splitting import assign_splits, own_splits
from finetune.dataset.unions import Unions
from finetune.job.choosing import Tried, choose
from finetune.job.crossing import crosses
from finetune.job.observing import Stages
from finetune.job.preparation import pooled
from finetune.job.recipe import Recipe
from finetune.job.variation import variation_warnings
from finetune.report.findings import Candidate, Candidates
from models.errors import UnknownModelError
from models.files import write_atomically
from models.loading import octets
from models.locating import locate
from models.model import Model
from models.zoo import find

FILE = "candidates.json"  # in the folder for what only an unfinished run needs
_ROUNDS = 7  # of which the fastest counts


def require_here(names: Sequence[str]) -> None:
    """See that each backbone is on this machine, so that nothing is downloaded in the middle of a run.

    Raises:
        UnknownModelError: one is not, or is not known at all.
    """
    missing, unpinned = [], False
    for name in names:
        row = find(name)
        if row is None or not row.url or row.file.is_file():
            if row is None:
                locate(name)
            continue
        missing.append(name)
        unpinned |= not row.sha256
    if missing:
        allow = " --allow-unpinned" if unpinned else ""
        verb = "is" if len(missing) == 1 else "are"
        raise UnknownModelError(
            f"{', '.join(missing)} {verb} not on this machine yet. Run `graft models pull {' '.join(missing)}{allow}` "
            "first, or leave them out of --try."
        )


def compare_candidates(
    dataset: Dataset,
    facts: Sequence[Facts],
    recipe: Recipe,
    trunks: Sequence[Trunk],
    stages: Stages,
    work: Path,
    *,
    store: ByteStore | None = None,
    threads: int | None = None,
    until: float | None = None,
) -> Candidates:
    """Try the recipe's candidates, whose frozen parts are `trunks`, and choose one; an earlier choice in `work` stays.

    `until`: by `time.monotonic`, after which no other network is begun.

    Raises:
        InputError: too few images to compare on.
        ModelError: a network fails, or gives the same for all images.
    """
    if (chosen := _read(work / FILE)) is not None:
        return chosen
    readable = [i for i, fact in enumerate(facts) if fact.error is None]
    examples = [dataset.examples[i] for i in readable]
    known = [facts[i] for i in readable]
    tried, lost = list[tuple[Tried, set[str]]](), set[str]()
    with stages.stage("candidates", len(examples) * len(trunks)):
        for place, (name, trunk) in enumerate(zip(recipe.candidates, trunks, strict=True)):
            if tried and until is not None and time.monotonic() > until:
                stages.observer.say(f"not tried, for want of time: {', '.join(recipe.candidates[place:])}")
                break
            before = place * len(examples)
            one, failed = _run(name, trunk, examples, recipe, stages, before, store, threads, work)
            tried.append((one, failed))
            lost |= failed
        trunks = trunks[: len(tried)]
        every = [_without(one, failed, lost, examples) for one, failed in tried]
        kept = [i for i, example in enumerate(examples) if example.item.id not in lost]
        examples, known = [examples[i] for i in kept], [known[i] for i in kept]
        for one, trunk in zip(every, trunks, strict=True):
            different = len({fact.digest for fact in known}) > 1
            for text in variation_warnings(one.vectors, different, one.name, trunk.cut):
                stages.observer.say(f"{one.name}: {text}")
        times = milliseconds([trunk.features.model for trunk in trunks])
        every = [dataclasses.replace(one, milliseconds=time) for one, time in zip(every, times, strict=True)]
        rows, groups = _not_for_the_test(dataset, examples, known, every, recipe)
        comparison = choose(examples, rows, groups, every, recipe)
    write_atomically(work / FILE, json.dumps(dataclasses.asdict(comparison)).encode())
    return comparison


def _run(
    name: str,
    trunk: Trunk,
    examples: Sequence[Example],
    recipe: Recipe,
    stages: Stages,
    before: int,
    store: ByteStore | None,
    threads: int | None,
    work: Path,
) -> tuple[Tried, set[str]]:
    """A backbone's features of all images it has an answer for, and the ids of the others."""
    features, failures = features_of(
        trunk, examples, 1, seed=recipe.seed, flip=recipe.flip, store=store, threads=threads, out=work,
        progress=lambda done: stages.observer.advance(before + done),
    )  # fmt: skip
    tried = Tried(name, pooled(features[:, 0], trunk), 0.0, octets(trunk.file))
    return tried, {image for image, _ in failures}


def milliseconds(models: Sequence[Model], clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """How long networks take for an image here, in batches of their usual size: the fastest of some rounds.

    They take turns, so that what else the machine does slows all of them alike.
    """
    dice = np.random.default_rng(0)
    batches = [
        dice.integers(0, 256, (model.batch_size, *model.card.preprocessing.size, 3), np.uint8)
        for model in models
    ]
    seconds = [float("inf")] * len(models)
    for number in range(_ROUNDS + 1):
        for i, (model, pixels) in enumerate(zip(models, batches, strict=True)):
            began = clock()
            model.run(pixels)
            if number:  # the first one warms up
                seconds[i] = min(seconds[i], clock() - began)
    return [1000 * each / model.batch_size for each, model in zip(seconds, models, strict=True)]


def _without(one: Tried, failed: set[str], lost: set[str], examples: Sequence[Example]) -> Tried:
    """A backbone's vectors without those of images that another one has no answer for."""
    kept = [example.item.id not in lost for example in examples if example.item.id not in failed]
    return dataclasses.replace(one, vectors=one.vectors[np.array(kept, bool)])


def _not_for_the_test(
    dataset: Dataset,
    examples: Sequence[Example],
    facts: Sequence[Facts],
    tried: Sequence[Tried],
    recipe: Recipe,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the images that are for the test with none of the backbones, and the groups of all images.

    Which images are copies, and so on which side they stand, is proposed by features too.
    """
    kept_set = dataclasses.replace(dataset, examples=tuple(examples))
    tested, all_groups = np.zeros(len(examples), bool), []
    for one in tried:
        groups = duplicate_groups(facts, one.vectors)
        splits = assign_splits(kept_set, groups, val=recipe.val, test=recipe.test, seed=recipe.seed)
        if crosses(kept_set, recipe):
            splits = own_splits(kept_set)
        tested |= np.array([split == "test" for split in splits], bool)
        all_groups += groups
    bound = Unions.of(examples, all_groups)
    together = np.array([bound.root(i) for i in range(len(examples))], np.int64)
    return np.flatnonzero(~tested), together


def _read(path: Path) -> Candidates | None:
    """The comparison that an earlier run made, or None."""
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(Candidate(**{**row, "interval": tuple(row["interval"])}) for row in values["rows"])
        return Candidates(rows, values["taken"], values["images"], values["words"])
    except (ValueError, KeyError, TypeError):  # half of one: it is made again
        return None
