"""Numbered files that are named together, as WebDatasets are: `shards/{000..127}.tar`."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from feature_extraction.items import ImageItem, failing_item, printable
from models.errors import ImageError, SourceError

MOST = 1_000_000  # names in one range: each is looked for on the disk
Seen = TypeVar("Seen")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def has_range(spec: str) -> bool:
    """Whether numbers in braces are in a path."""
    return bool(_RANGE.search(spec))


def numbered(spec: str) -> Iterator[str]:
    """All names that `{000..127}` stands for.

    Raises:
        SourceError: a range that counts down, or one of more names than anyone has files.
    """
    sizes = [int(last) - int(first) + 1 for first, last in _RANGE.findall(spec)]
    if min(sizes) < 1:
        raise SourceError(f"{spec}: a range counts down; expected the smaller number first. Turn it round.")
    if math.prod(sizes) > MOST:
        raise SourceError(
            f"{spec}: stands for {math.prod(sizes):,} files; expected {MOST:,} at most. Name the files that are "
            "there, or use a glob."
        )
    return _names(spec)


def _names(spec: str) -> Iterator[str]:
    match = _RANGE.search(spec)
    if match is None:
        yield spec
        return
    for number in range(int(match[1]), int(match[2]) + 1):
        yield from _names(f"{spec[: match.start()]}{number:0{len(match[1])}}{spec[match.end() :]}")


def on_disk(name: str) -> str | None:
    """A name, where something is called so."""
    return name if os.path.lexists(name) else None


def present(names: Iterator[str], look: Callable[[str], Seen | None]) -> Iterator[Seen | ImageItem]:
    """What `look` gives for the names where it gives something; a gap between them, or at an end, is one failure.

    Nothing where none is there.
    """
    gap: list[str] = []  # first and last name of it
    missing, some = 0, False
    for name in names:
        seen = look(name)
        if seen is None:
            gap = [*gap[:1], name]
            missing += 1
            continue
        if missing:
            yield _missing(gap, missing)
        gap, missing, some = [], 0, True
        yield seen
    if some and missing:
        yield _missing(gap, missing)


def _missing(gap: list[str], count: int) -> ImageItem:
    if count == 1:
        return failing_item(
            printable(gap[0]), ImageError(f"{printable(gap[0])}: no such file. Check the range.")
        )
    name = printable(" to ".join(gap))
    return failing_item(name, ImageError(f"{name}: {count:,} files are not there. Check the range."))
