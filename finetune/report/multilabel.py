"""How good a model is that says which labels hold: by label, by pairs that are mixed up, by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune.report.comparing import Comparison, Leaks, compare, leak_effect
from finetune.report.findings import Findings, Floats, Ints, Previous
from finetune.trust.multilabel import HALF, MultilabelMeasure, Table, measure_multilabel

MOST_PAIRS = 12


@dataclass(frozen=True)
class Mistake:
    """An image with a wrong label: which hold and are not answered, and which are answered and do not hold."""

    row: int  # of the measured images
    missed: tuple[int, ...]
    added: tuple[int, ...]
    sureness: float  # how far the worst of them is beyond its threshold, 0 to 1


@dataclass(frozen=True)
class MixUp:
    """A label that holds and is not answered, and one that is answered in its place."""

    missed: int
    added: int
    images: int


@dataclass(frozen=True)
class Multilabel:
    """All that is measured. `answered` (N, labels): which are said to hold, of the finished file."""

    answered: Table
    measure: MultilabelMeasure
    untuned: MultilabelMeasure  # with a threshold of 1/2 for each label
    before: MultilabelMeasure | None  # without temperature
    broken: int  # images that got an answer with NaN or infinity
    mistakes: tuple[Mistake, ...]  # the surest first
    mix_ups: tuple[MixUp, ...]  # the most frequent first, so many at most
    leaks: Leaks | None
    comparison: Comparison | None


def measure_labels(findings: Findings) -> Multilabel:
    """Measure findings whose task is multilabel, with `truth`, `after` and `thresholds`."""
    truth, raw = np.asarray(findings.truth, bool), np.asarray(findings.after, np.float64)
    thresholds = np.asarray(findings.thresholds or [HALF] * len(findings.classes))
    likely = np.clip(np.nan_to_num(raw, nan=0, posinf=0, neginf=0), 0, 1)
    measure = measure_multilabel(truth, likely, thresholds.tolist(), findings.classes)
    answered = likely >= thresholds
    right = (truth == answered).all(axis=1).astype(np.int64)
    every = np.ones(len(truth), np.int64)
    halves = [HALF] * len(findings.classes)
    return Multilabel(
        answered,
        measure,
        measure_multilabel(truth, likely, halves, findings.classes),
        measure_multilabel(truth, findings.before, halves, findings.classes)
        if findings.before is not None
        else None,
        int((~np.isfinite(raw)).any(axis=1).sum()),
        mistakes(truth, likely, thresholds),
        mix_ups(truth, answered),
        leak_effect(every, right, findings.leaks) if findings.leaks is not None else None,
        _comparison(right, findings.previous) if findings.previous else None,
    )


def _comparison(right: Ints, previous: Previous) -> Comparison:
    """Whole images that this model and an earlier one have right, of those that both have measured."""
    rows = np.arange(len(right)) if previous.rows is None else previous.rows
    before = np.asarray(previous.predicted, np.int64)[rows]
    return compare(np.ones(len(rows), np.int64), right[rows], before)


def mistakes(truth: Table, likely: Floats, thresholds: Floats) -> tuple[Mistake, ...]:
    """The images with wrong labels, of (N, labels); the surest first.

    How sure a wrong answer is: how far the probability lies beyond the threshold, as a part of how far it could.
    """
    answered = likely >= thresholds
    beyond = np.where(answered, (likely - thresholds) / (1 - thresholds), (thresholds - likely) / thresholds)
    worst = np.where(truth != answered, beyond, -1).max(axis=1)
    rows = np.flatnonzero((truth != answered).any(axis=1))
    return tuple(
        Mistake(
            int(row),
            _places(truth[row] & ~answered[row]),
            _places(answered[row] & ~truth[row]),
            float(worst[row]),
        )
        for row in rows[np.argsort(-worst[rows], kind="stable")]
    )


def mix_ups(truth: Table, answered: Table) -> tuple[MixUp, ...]:
    """The pairs of a missed label and one that was answered wrongly on the same images."""
    missed, added = (truth & ~answered).astype(np.int64), (answered & ~truth).astype(np.int64)
    together: Ints = missed.T @ added  # (labels, labels)
    order = np.argsort(-together, axis=None, kind="stable")[:MOST_PAIRS]
    places = zip(*np.unravel_index(order, together.shape), strict=True)
    return tuple(MixUp(int(a), int(b), int(together[a, b])) for a, b in places if together[a, b])


def _places(there: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(np.flatnonzero(there).tolist())
