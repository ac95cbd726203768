"""Photos that can be read and may yet be of no use: blurred, dark, of one colour, of a size unlike the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from feature_extraction.items import read_item
from feature_extraction.ordered import ordered_map
from finetune.dataset.examples import Example
from finetune.dataset.hashing import grey_values
from finetune.dataset.scanning import Facts
from models.cores import cores
from models.errors import GraftError
from models.preprocessing import thumbnail
from models.runtime import Array

Defect = Literal["blurred", "dark", "one colour", "small", "long"]
# Of 150 photos of clothing_10 the most blurred has 0.47; blurred by a Gaussian of 2 pixels of 256 they have 0.67 in the
# middle, and 0.56 at the fifth percentile.
BLURRED = 0.6
_SIDE = 256  # pixels of the longer side of what is judged
_LEAST = 128  # pixels of the longer side below which a picture is not judged by its blur: letters, icons
_WINDOW = 9  # pixels
_DARK = 50.0  # of 255: nearly all of the picture is darker
_FLAT = 2.0  # standard deviation of grey values
_SMALL, _LONG = 4, 2  # times as small, or as long, as is usual in the set
_SHAPE = 4.0  # times as long as wide
_AHEAD = 4


@dataclass(frozen=True)
class Flaw:
    """What is wrong with the photo at a position of the dataset, and by how much."""

    index: int
    defect: Defect
    detail: str


def flaws(
    examples: Sequence[Example],
    facts: Sequence[Facts],
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Flaw]:
    """The flaws of all images that can be read, in their order; those that are small, or dark, are not called blurred.

    Each image is read and decoded once more, to at most 256 pixels.
    """
    readable = [i for i, one in enumerate(facts) if one.error is None]
    seen: dict[int, Flaw] = {flaw.index: flaw for flaw in _seen_at_once(facts, readable)}
    workers = threads or cores()
    blurs = ordered_map(
        partial(_blur, examples, facts), readable, threads=workers, ahead=workers * _AHEAD, name="graft-blur"
    )
    for done, (i, blur) in enumerate(zip(readable, blurs, strict=True), 1):
        if blur is not None and blur >= BLURRED:
            seen.setdefault(i, Flaw(i, "blurred", f"blur {blur:.2f} of 1; {BLURRED} and more is counted"))
        if progress:
            progress(done, len(readable))
    return [seen[i] for i in sorted(seen)]


def blur_effect(grey: Array) -> float:
    """How little a picture, float (H, W), changes when it is blurred: 0 is sharp, 1 blurred; in the worse direction.

    Source: Crete, Dolmiere, Ladret and Nicolas 2007, "The blur effect: perception and estimation with a new
    no-reference perceptual blur metric".
    """
    worst = 0.0
    for picture in (grey, grey.T):  # along the rows
        steps = np.abs(np.diff(picture, axis=1))
        lost = np.maximum(0, steps - np.abs(np.diff(_blurred(picture), axis=1)))
        total = float(steps.sum())
        worst = max(worst, (total - float(lost.sum())) / total if total else 1.0)
    return worst


def _blurred(picture: Array) -> Array:
    """Means over a window of neighbours in each row, (H, W)."""
    half = _WINDOW // 2
    sums = np.cumsum(np.pad(picture, ((0, 0), (half + 1, half)), "edge"), axis=1, dtype=np.float64)
    means: Array = ((sums[:, _WINDOW:] - sums[:, :-_WINDOW]) / _WINDOW).astype(np.float32)
    return means


def _blur(examples: Sequence[Example], facts: Sequence[Facts], i: int) -> float | None:
    """How blurred an image is; None where that cannot be judged."""
    if max(facts[i].width, facts[i].height) < _LEAST or _is_flat(facts[i].pixels):
        return None
    item = examples[i].item
    try:
        return blur_effect(grey_values(np.asarray(thumbnail(read_item(item), _SIDE, name=item.id))))
    except GraftError:  # gone since it was read
        return None


def _seen_at_once(facts: Sequence[Facts], readable: Sequence[int]) -> Iterator[Flaw]:
    """Flaws that the size and 32 x 32 pixels show."""
    if not readable:
        return
    short = float(np.median([min(facts[i].width, facts[i].height) for i in readable]))
    shape = float(np.median([_shape(facts[i]) for i in readable]))
    for i in readable:
        one = facts[i]
        size = f"{one.width:,} x {one.height:,} pixels"
        if _is_flat(one.pixels):
            yield Flaw(i, "one colour", "nothing to be seen")
        elif one.pixels is not None and np.percentile(grey_values(one.pixels), 95) < _DARK:
            yield Flaw(i, "dark", f"95 % of it is darker than {_DARK:.0f} of 255")
        elif min(one.width, one.height) * _SMALL <= short:
            yield Flaw(i, "small", f"{size}; the shorter side is usually {short:,.0f}")
        elif _shape(one) >= max(_SHAPE, _LONG * shape):
            yield Flaw(i, "long", f"{size}: {_shape(one):.1f} times as long as wide; {shape:.1f} is usual")


def _is_flat(pixels: NDArray[np.uint8] | None) -> bool:
    return pixels is not None and float(pixels.std(axis=(0, 1)).max()) < _FLAT


def _shape(one: Facts) -> float:
    return max(one.width, one.height) / min(one.width, one.height)
