"""Whether folders lie where classes are looked for: what is one level off, nested, or turned round is noticed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from feature_extraction.archives import Entry
from feature_extraction.items import printable
from finetune.dataset.examples import split_of
from models.errors import SourceError
from models.wording import counted, listed


def tops_of(images: Sequence[Entry]) -> set[str]:
    """The folders at the top in which, or below which, images lie."""
    return {parts[0] for parts, _ in images if len(parts) > 1}


def has_splits(images: Sequence[Entry]) -> bool:
    """Whether the folders at the top are splits: train and at least one other, or nothing but splits."""
    known = {split for parts, _ in images if len(parts) > 2 and (split := split_of(parts[0]))}
    others = {top for top in tops_of(images) if split_of(top) is None}
    return ("train" in known and len(known) > 1) or (bool(known) and not others)


def splits_without_classes(images: Sequence[Entry]) -> list[str]:
    """Folders at the top that are called as splits are, with images and no classes in them, where no other is one.

    Empty where folders of classes can be meant: one of them may be called `train`, among others.
    """
    inner = {parts[0] for parts, _ in images if len(parts) > 2}
    flat = sorted(tops_of(images) - inner)
    splits = [top for top in flat if split_of(top)]
    if len({split_of(top) for top in splits}) > 1 and not has_splits(images):
        return splits
    return splits if splits and splits == flat and not inner else []


def refuse_splits_without_classes(source: str, folders: Sequence[str]) -> None:
    """Refuse splits that would become classes.

    Raises:
        SourceError: always.
    """
    names = " and ".join(folders) if len(folders) < 3 else listed(folders)
    first = next((folder for folder in folders if split_of(folder) == "train"), folders[0])
    raise SourceError(
        f"{source}: {names} {'is' if len(folders) == 1 else 'are'} called as splits are, with images and no folders of "
        f"classes; a model would learn to tell {names}. Expected {first}/CLASS/photo.jpg; or a list with the "
        "labels: metadata.csv, train.csv or labels.csv beside the photos, or as SOURCE. Rename a class that is meant."
    )


def check_level(source: str, images: Sequence[Entry]) -> None:
    """Refuse a folder that lies above those that were meant, one of which is called as a split is.

    Raises:
        SourceError: so it is.
    """
    inner = _inner(images)
    shared = sorted(
        name for name, count in Counter(n for names in inner.values() for n in names).items() if count > 1
    )
    above = sorted(top for top, names in inner.items() if set(names) & set(shared))
    if (
        len(above) > 1
        and any(split_of(top) for top in above)
        and 2 * len(shared) >= len(set().union(*inner.values()))
    ):
        meant = next((top for top in above if not split_of(top)), above[0])
        raise SourceError(
            f"{source}: {listed(above)} all hold folders such as {listed(shared, 3)}, which look like classes: this "
            f"is one level too high. Give {source}/{meant} to learn from; or call them train, val and test to use them "
            "together."
        )


def nested(images: Sequence[Entry], depth: int) -> Iterator[str]:
    """A sentence where folders lie below those of classes, which are `depth` folders below the top."""
    inner: dict[str, Counter[str]] = defaultdict(Counter)
    for parts, _ in images:
        if len(parts) > depth + 2:
            inner[parts[depth]][parts[depth + 1]] += 1
    if not inner:
        return
    folders = {name for names in inner.values() for name in names}
    shown = listed(
        [printable(f"{label}/{name}") for label in sorted(inner) for name in sorted(inner[label])], 3
    )
    total = sum(sum(names.values()) for names in inner.values())
    if all(map(split_of, folders)):
        yield (
            f"below the folders of classes lie {listed(sorted(map(printable, folders)))}, taken together and not as "
            "splits; put them above the classes (train/CLASS/photo.jpg) to have them respected."
        )
    else:
        yield (
            f"{counted(total, 'image')} in folders below those of classes ({shown}): the upper folder is the class. If "
            "the lower ones are meant, give a folder in which they lie at the top."
        )


def merged(spellings: Mapping[str, Collection[str]]) -> Iterator[str]:
    """A sentence where several folders are one class, from the names of folders by that of their class."""
    if several := [f"{len(names)} called {label!r}" for label, names in spellings.items() if len(names) > 1]:
        yield (
            f"folders whose names differ in bytes and not in letters are taken together: {listed(several)}. Rename "
            "those that are classes of their own."
        )


def _inner(images: Sequence[Entry]) -> dict[str, Counter[str]]:
    """For each folder at the top, the folders in it below which images lie."""
    inner: dict[str, Counter[str]] = defaultdict(Counter)
    for parts, _ in images:
        if len(parts) > 2:
            inner[parts[0]][parts[1]] += 1
    return inner
