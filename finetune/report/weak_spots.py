"""Where a classifier is wrong more often than elsewhere: classes, small or dark photos, copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.pages.formatting import percent, quoted
from finetune.report.findings import Floats, Ints, Traits
from finetune.trust.measures import Share

FEWEST = 5  # images of which something is said
SIGNIFICANT = 0.05  # that any one is named where none is weak
PART = 4  # the smallest, largest, darkest and brightest fourth

Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class WeakSpot:
    """Images that have something in common and are answered wrongly significantly more often than the others."""

    kind: str  # class, size, brightness or copies
    name: str  # "images of “hat”", "the smallest photos, of at most 120 pixels"
    wrong: Share
    others: Share
    p: float  # of so many mistakes or more if these images were like the others
    rows: tuple[int, ...]  # of the measured images, the mistakes, the surest first

    def words(self) -> str:
        """One sentence."""
        return (
            f"{self.name[:1].upper()}{self.name[1:]}: {self.wrong.count} of {self.wrong.images} are answered wrongly "
            f"({percent(self.wrong.value)}), of the others {percent(self.others.value)}."
        )


def find_weak_spots(
    truth: Ints, predicted: Ints, confidence: Floats, names: tuple[str, ...], traits: Traits | None
) -> tuple[WeakSpot, ...]:
    """Those that chance hardly explains, the least likely first; truth, predicted, confidence (N,).

    Each candidate is compared with all other images by Fisher's exact test, one-sided; of so many tests the smallest p
    count as Holm demands (1979, "A simple sequentially rejective multiple test procedure"), so that one is named by
    chance in 5 of 100 reports at most.
    """
    wrong = truth != predicted
    if not wrong.any() or wrong.all():
        return ()
    spots = []
    for kind, name, rows in _candidates(truth, names, traits):
        images, mistakes = int(rows.sum()), int((rows & wrong).sum())
        if images < FEWEST or images == len(truth):
            continue
        p = _at_least(mistakes, images, int(wrong.sum()), len(truth))
        others = Share(int(wrong.sum()) - mistakes, len(truth) - images)
        own = np.flatnonzero(rows & wrong)
        own = own[np.argsort(-confidence[own], kind="stable")]
        spots.append(WeakSpot(kind, name, Share(mistakes, images), others, p, tuple(own.tolist())))
    spots.sort(key=lambda spot: spot.p)
    count = next((i for i, one in enumerate(spots) if one.p * (len(spots) - i) >= SIGNIFICANT), len(spots))
    return tuple(spots[:count])


def _at_least(mistakes: int, images: int, wrong: int, total: int) -> float:
    """How likely so many mistakes or more are among some images, where `wrong` of all are: hypergeometric."""
    from scipy.special import gammaln  # scipy.stats takes a third of a second to import

    def ways(of: Any, some: Any) -> Any:
        return gammaln(of + 1) - gammaln(some + 1) - gammaln(of - some + 1)

    count = np.arange(max(mistakes, images + wrong - total), min(images, wrong) + 1)
    chances = ways(wrong, count) + ways(total - wrong, images - count) - ways(total, images)
    return min(1.0, float(np.exp(chances).sum()))


def _candidates(
    truth: Ints, names: tuple[str, ...], traits: Traits | None
) -> Iterator[tuple[str, str, Rows]]:
    """What images may have in common: a kind, what they are called, and which they are."""
    for index, name in enumerate(names):
        yield "class", f"images of {quoted(name)}", truth == index
    if traits is None:
        return
    sides, light = traits.sides, traits.brightness
    if len(np.unique(sides)) > 1:
        few, many = np.quantile(sides, (1 / PART, 1 - 1 / PART))
        yield "size", f"the smallest photos, of at most {few:,.0f} pixels on the shorter side", sides <= few
        yield "size", f"the largest photos, of at least {many:,.0f} pixels on the shorter side", sides >= many
    if len(np.unique(light)) > 1:
        dark, bright = np.quantile(light, (1 / PART, 1 - 1 / PART))
        yield "brightness", f"the darkest photos, of a mean of at most {dark:.0f} of 255", light <= dark
        yield (
            "brightness",
            f"the brightest photos, of a mean of at least {bright:.0f} of 255",
            light >= bright,
        )
    for group in np.unique(traits.groups[traits.groups >= 0]):
        yield (
            "copies",
            f"{quoted(traits.names[group])} and its copies, or those of its group",
            traits.groups == group,
        )
    yield "copies", "photos that have copies, or stand in a group", traits.groups >= 0
