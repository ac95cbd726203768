"""Which image is for training, which for validation, which for the test: decided by its name alone."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

from finetune.dataset.duplicates import Group
from finetune.dataset.examples import Dataset, Split
from finetune.dataset.unions import Unions
from models.errors import InputError

_WORD = 2.0**64
_OFTEN = 10  # units with the same labels from which on they are shared out by themselves


def assign_splits(
    dataset: Dataset, groups: Sequence[Group], *, val: float = 0.15, test: float = 0.15, seed: int = 0
) -> list[Split]:
    """The side of each example, in their order.

    Examples of one `group`, and copies (`groups`), stay together. Each such unit gets a number in [0, 1), the SHA-256
    of the seed and the name of its first image within the source: below `test` it is for the test, below `test` +
    `val` for validation. So each class is shared out alike, and a unit keeps its side when others come or go. Where a
    class of three units or more would get none for the test or for validation, the one next to the border goes there;
    of two units one is for validation, without which nothing can be trained.

    Of several labels, images with the same ones are shared out alike; where few have them, those with the rarest of
    their labels in common. Where a label of three units or more would get none for the test or for validation, the one
    next to the border goes there.

    Splits of the dataset's own are kept; where they have train but no val, val is taken out of train.

    Raises:
        InputError: shares below 0, or that leave nothing to train on.
    """
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1):
        raise InputError(f"val is {val} and test is {test}; expected shares from 0 whose sum is below 1.")
    sides = own_splits(dataset)
    if dataset.has_splits:
        if "val" in sides or "train" not in sides:
            return sides
        test = 0.0
    strata: dict[str, list[tuple[float, list[int]]]] = defaultdict(list)
    # One with a copy in the test stays where it is.
    units = [unit for unit in _units(dataset, groups) if all(sides[i] == "train" for i in unit)]
    numbered = [(_number(_name(dataset, unit), seed), unit) for unit in units]
    for name, each in zip(_strata(dataset, units), numbered, strict=True):
        strata[name].append(each)
    for stratum in strata.values():
        stratum.sort()
        numbers = [number for number, _ in stratum]
        tested = _count(numbers, 0, test, test, room=2 if val else 1)
        validated = _count(numbers, tested, test + val, val, room=1)
        for place, (_, unit) in enumerate(stratum[: tested + validated]):
            for i in unit:
                sides[i] = "test" if place < tested else "val"
    if dataset.task == "multilabel":
        shares: dict[Split, float] = {"val": val, "test": test}
        _reach_labels(dataset, sorted(numbered), sides, [side for side, share in shares.items() if share])
    return sides


def _strata(dataset: Dataset, units: Sequence[Sequence[int]]) -> list[str]:
    """What the units are shared out by: the class of each, or its combination of labels, or the rarest of them."""
    whole = [dataset.examples[unit[0]].label for unit in units]
    if dataset.task != "multilabel":
        return whole
    combinations = Counter(whole)
    single = Counter(name for unit in units for name in dataset.examples[unit[0]].holding)
    return [
        name
        if combinations[name] >= _OFTEN
        else "rarest "
        + min(dataset.examples[unit[0]].holding, key=lambda one: (single[one], one), default="")
        for name, unit in zip(whole, units, strict=True)
    ]


def _reach_labels(
    dataset: Dataset, numbered: Sequence[tuple[float, list[int]]], sides: list[Split], wanted: Sequence[Split]
) -> None:
    """Move units from training to a side that has none of a label, where each of their labels is left for training."""
    of_label: dict[str, list[list[int]]] = defaultdict(list)
    for _, unit in numbered:
        for name in sorted({name for i in unit for name in dataset.examples[i].holding}):
            of_label[name].append(unit)

    def training(name: str) -> list[list[int]]:
        return [unit for unit in of_label[name] if sides[unit[0]] == "train"]

    def spare(unit: list[int]) -> bool:
        return all(len(training(name)) > 1 for i in unit for name in dataset.examples[i].holding)

    for name in sorted(of_label, key=lambda name: (len(of_label[name]), name)):
        for side in wanted:
            if any(sides[unit[0]] == side for unit in of_label[name]):
                continue
            for i in next(filter(spare, training(name)), []):
                sides[i] = side


def own_splits(dataset: Dataset) -> list[Split]:
    """The side of each example as the folders or the list say it; the others are for training."""
    return [example.split or "train" for example in dataset.examples]


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
