"""Which image is for training, which for validation, which for the test: decided by its name alone."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from finetune.dataset.duplicates import Group
from finetune.dataset.examples import Dataset, Split
from finetune.dataset.unions import Unions
from models.errors import InputError

_WORD = 2.0**64


def assign_splits(
    dataset: Dataset, groups: Sequence[Group], *, val: float = 0.15, test: float = 0.15, seed: int = 0
) -> list[Split]:
    """The side of each example, in their order.

    Examples of one `group`, and copies (`groups`), stay together. Each such unit gets a number in [0, 1), the SHA-256
    of the seed and the name of its first image within the source: below `test` it is for the test, below `test` +
    `val` for validation. So each class is shared out alike, and a unit keeps its side when others come or go. Where a
    class of three units or more would get none for the test or for validation, the one next to the border goes there;
    of two units one is for validation, without which nothing can be trained.

    Splits of the dataset's own are kept; where they have train but no val, val is taken out of train.

    Raises:
        InputError: shares below 0, or that leave nothing to train on.
    """
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1):
        raise InputError(f"val is {val} and test is {test}; expected shares from 0 whose sum is below 1.")
    sides: list[Split] = [example.split or "train" for example in dataset.examples]
    if dataset.has_splits:
        if "val" in sides or "train" not in sides:
            return sides
        test = 0.0
    strata: dict[str, list[tuple[float, list[int]]]] = defaultdict(list)
    for unit in _units(dataset, groups):
        if all(sides[i] == "train" for i in unit):  # one with a copy in the test stays where it is
            strata[dataset.examples[unit[0]].label].append((_number(_name(dataset, unit), seed), unit))
    for stratum in strata.values():
        stratum.sort()
        numbers = [number for number, _ in stratum]
        tested = _count(numbers, 0, test, test, room=2 if val else 1)
        validated = _count(numbers, tested, test + val, val, room=1)
        for place, (_, unit) in enumerate(stratum[: tested + validated]):
            for i in unit:
                sides[i] = "test" if place < tested else "val"
    return sides


def _count(numbers: Sequence[float], start: int, border: float, share: float, room: int) -> int:
    """How many of the ascending numbers from `start` are taken; `room` are left over."""
    if not share:
        return 0
    below = sum(number < border for number in numbers) - start
    return max(0, min(max(below, 1), len(numbers) - start - room))


def _units(dataset: Dataset, groups: Sequence[Group]) -> list[list[int]]:
    """What must stay on one side: positions in the order of the names."""
    joined = Unions.of(dataset.examples, groups)
    return [sorted(unit, key=lambda i: dataset.examples[i].key) for unit in joined.sets()]


def _name(dataset: Dataset, unit: Sequence[int]) -> str:
    """A group's own name stays the same whichever image is its first."""
    named = sorted(group for i in unit if (group := dataset.examples[i].group) is not None)
    return f"group {named[0]}" if named else f"image {dataset.examples[unit[0]].key}"


def _number(name: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}\n{name}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / _WORD
