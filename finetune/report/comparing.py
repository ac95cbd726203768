"""Whether a difference between two accuracies means anything: McNemar's test, and images that leaked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finetune.report.findings import Ints
from finetune.trust.measures import Share, accuracy

MEANINGFUL = 30  # changed answers below which no difference of two models should be believed: a rule of thumb
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images."""

    new: Share
    previous: Share
    only_new: int  # images that only the new model gets right
    only_previous: int
    both_right: int
    both_wrong: int
    p: float  # probability of a split of the changed answers at least this uneven, if both were equally good

    @property
    def changed(self) -> int:
        """Answers that went from wrong to right or from right to wrong."""
        return self.only_new + self.only_previous

    @property
    def significant(self) -> bool:
        """Whether p is below 0.05 and enough answers changed."""
        return self.p < SIGNIFICANT and self.changed >= MEANINGFUL

    def words(self) -> str:
        """What follows from it, in two or three sentences."""
        if not self.changed:
            return "Both models are right and wrong on the same images: there is no difference to speak of."
        points = 100 * (self.new.value - self.previous.value)
        changes = (
            f"{_answers(self.changed)} changed: {self.only_new} became right and {self.only_previous} became wrong, "
            f"which makes {points:+.1f} points. "
        )
        chance = (
            f"Two equally good models would differ this much by chance {_often(self.p)} (p = {_p(self.p)}). "
        )
        if self.changed < MEANINGFUL:
            return (
                f"{changes}{chance}As a rule of thumb, about {MEANINGFUL} changed answers is where a difference starts "
                "to mean anything: more test images are needed to say which model is better."
            )
        if self.p >= SIGNIFICANT:
            return f"{changes}{chance}That is no proof of a difference."
        return f"{changes}{chance}The {'gain' if points > 0 else 'loss'} is significant: it is unlikely to be luck."


@dataclass(frozen=True)
class Leaks:
    """Accuracy with and without measured images that have a duplicate among the training images."""

    rows: tuple[int, ...]
    everything: Share
    without: Share
    leaked: Share


def mcnemar(only_new: int, only_previous: int) -> float:
    """Two-sided p of McNemar's test, exact for any number of changed answers.

    If two models are equally good, each changed answer goes either way with probability 1/2, so the smaller count
    follows a binomial distribution: p = min(1, 2 P(X <= min(b, c))), X ~ B(b + c, 1/2).
    Source: McNemar 1947, "Note on the sampling error of the difference between correlated proportions or percentages";
    the exact form: Dietterich 1998, "Approximate statistical tests for comparing supervised classification learning
    algorithms", and its reference to Everitt 1977.
    """
    from scipy.special import bdtr  # the same in scipy.stats takes a third of a second to import

    changed = only_new + only_previous
    return min(1.0, 2 * float(bdtr(min(only_new, only_previous), changed, 0.5))) if changed else 1.0


def compare(truth: Ints, new: Ints, previous: Ints) -> Comparison:
    """Compare the answers of two models on the same images; class indices (N,), -1 for an unknown class."""
    right, was = truth == new, truth == previous
    only_new, only_previous = int((right & ~was).sum()), int((was & ~right).sum())
    return Comparison(
        accuracy(truth, new),
        accuracy(truth, previous),
        only_new,
        only_previous,
        int((right & was).sum()),
        int((~right & ~was).sum()),
        mcnemar(only_new, only_previous),
    )


def leak_effect(truth: Ints, predicted: Ints, leaked: Ints) -> Leaks:
    """What leaked duplicates do to the accuracy; `leaked` are rows of truth and predicted (N,)."""
    inside = np.zeros(len(truth), bool)
    inside[leaked] = True
    return Leaks(
        tuple(np.flatnonzero(inside).tolist()),
        accuracy(truth, predicted),
        accuracy(truth[~inside], predicted[~inside]),
        accuracy(truth[inside], predicted[inside]),
    )


def _answers(count: int) -> str:
    return "One answer" if count == 1 else f"{count} answers"


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def _often(p: float) -> str:
    if p < 0.001:
        return "less than once in a thousand times"
    return "nearly always" if p > 0.95 else f"{100 * p:.2g} times in a hundred"
