"""What a run can compute before anything is learned: by a thread of its own, while others learn."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np

from feature_extraction.byte_store import ByteStore
from finetune.job.preparation import Prepared
from finetune.job.recipe import Recipe
from finetune.job.reporting import Slopes, slopes_of
from finetune.job.strangers import Strangers, see_strangers
from finetune.trust.rejection import HeldPart, Spaces, fit_spaces

_MOST = 2_000  # images whose spaces are fitted ahead: their rows are there twice then


@dataclass(frozen=True)
class Ahead:
    """Functions that give what was computed, and wait for it; or compute it, where nothing is computed ahead.

    `strangers`: images that come with the package, as the trunk sees them. `slopes`: see `slopes_of`. `spaces`: see
    `spaces_of`; None where embeddings will be others than the features, or are many.
    """

    strangers: Callable[[], Strangers]
    slopes: Callable[[], Slopes]
    spaces: Callable[[], Spaces] | None


def compute_ahead(
    executor: Executor | None,
    prepared: Prepared,
    recipe: Recipe,
    *,
    unknown: bool,
    store: ByteStore | None,
    threads: int | None,
) -> Ahead:
    """Let `executor` begin, where there is one; `unknown`: whether there are images that are none of the classes."""
    see = partial(see_strangers, prepared, store=store, threads=threads)
    slope = partial(slopes_of, prepared, recipe.seed)
    if executor is None or prepared.task != "classification":
        return Ahead(see, slope, None)
    seen, slopes = executor.submit(see), executor.submit(slope)
    if not _embeds_features(prepared, recipe):
        return Ahead(seen.result, slopes.result, None)
    spaces = executor.submit(spaces_of, prepared, recipe.seed, rounds=not unknown)
    return Ahead(seen.result, slopes.result, spaces.result)


def import_for_later(recipe: Recipe) -> None:
    """Import what takes a third of a second and is needed later; what is missing or broken, is so there."""
    names = ["scipy.linalg"]
    if recipe.method != "sklearn":  # which writes no curves
        names.append("tensorboardX.event_file_writer")
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def spaces_of(prepared: Prepared, seed: int, *, rounds: bool) -> Spaces:
    """The spaces of a rejector, where nothing below the embedding is trained; `rounds`: see `fit_spaces`."""
    rows, targets = prepared.rows["train"], prepared.targets
    train, parts = prepared.views[:, 0], []
    for learned, held in prepared.folds or ((rows, prepared.rows["val"]),):
        asked, known = np.sort(held), train[np.searchsorted(rows, learned)]
        logits = np.empty((len(asked), 0), np.float32)  # none yet
        parts.append(
            HeldPart(
                known, targets[learned], prepared.features[asked], logits, targets[asked], prepared.groups[asked]
            )
        )  # fmt: skip
    return fit_spaces(train, targets[rows], parts, seed=seed, rounds=rounds)


def _embeds_features(prepared: Prepared, recipe: Recipe) -> bool:
    """Whether embeddings will be the features; where they turn out to be others, spaces are fitted to those."""
    return (
        prepared.features.ndim == 2
        and len(prepared.features) <= _MOST
        and recipe.preset != "best"
        and recipe.method != "blocks"
        and not recipe.training.hidden
    )
