"""The curves of trainings, for the report: of one, or the mean of several that were measured on other images each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finetune.report.findings import History, RateSearch
from finetune.training.result import Epoch, Phase


def _entries(phases: Sequence[Phase]) -> tuple[list[Epoch], int]:
    """All that was measured, one after the other, and the place of the best: of the last phase that became better."""
    first = phases[0].start
    entries, best = [] if first is None else [first], 0
    for phase in phases:
        if phase.best_epoch:  # 0: what the phase before gave
            best = len(entries) + phase.best_epoch - 1
        entries += phase.epochs
    return entries, best


def history_of(phases: Sequence[Phase]) -> History | None:
    """The curves of all phases one after the other."""
    entries, best = _entries(phases)
    return _curves([entries], [1], best, phases) if any(phase.epochs for phase in phases) else None


def mean_history(parts: Sequence[Sequence[Phase]], counts: Sequence[int], kept: int) -> History | None:
    """The mean curves of models that were each measured on other images, weighed by how many those are.

    `kept`: the epoch that is taken for the model of all images, counted from what training began with.
    """
    every = [_entries(phases)[0] for phases in parts]
    length = min(map(len, every))
    before = length - 1 - min(len(phases[-1].epochs) for phases in parts)  # what came before the last phase
    if not any(phase.epochs for phase in parts[0]):
        return None
    first = parts[0][0].start is not None
    best = (before + kept) if first else max(before + kept, 0)
    history = _curves([one[:length] for one in every], counts, min(best, length - 1), parts[0])
    return dataclasses.replace(history, val_images=sum(counts))


def _curves(
    parts: Sequence[Sequence[Epoch]], counts: Sequence[int], best: int, phases: Sequence[Phase]
) -> History:
    def curve(name: str) -> NDArray[np.float64] | None:
        values = [[getattr(epoch, name) for epoch in part] for part in parts]
        if all(value is None for part in values for value in part):
            return None
        table = np.array([[np.nan if value is None else value for value in part] for part in values])
        return np.asarray(np.average(table, axis=0, weights=counts))

    searched = next((phase for phase in phases if phase.finder), None)
    search = None
    if searched is not None:
        rates, losses = np.array(searched.finder).T
        search = RateSearch(rates, losses, searched.learning_rate)
    loss = curve("loss")
    assert loss is not None  # every epoch has one
    return History(
        loss,
        curve("val_loss"),
        curve("accuracy"),
        curve("val_accuracy"),
        best,
        search,
        curve("val_refined"),
        first=1 if phases[0].start is None else 0,
    )
