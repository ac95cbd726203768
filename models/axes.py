"""What an axis of a tensor runs over: images, channels, rows, columns; and what reshaping makes of it.

An axis is a product of atoms, the slowest first: the tokens of a vision transformer are rows x columns, the windows of
Swin images x rows x columns. Reshaping splits and joins atoms and never moves them, so rows and columns are known again
behind a partition into windows and back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

IMAGES, CHANNELS, ROWS, COLUMNS, TOKENS = "N", "C", "H", "W", "T"
UNKNOWN = "?"
PLACES = frozenset((ROWS, COLUMNS, TOKENS))


@dataclass(frozen=True)
class Atom:
    """Something that is counted: `order` tells the pieces of a split one apart, the slowest first."""

    letter: str
    size: int
    order: tuple[int, ...] = ()


@dataclass(frozen=True)
class Axis:
    """Atoms, and how many entries stand beside their places: class tokens `before` and `after` them."""

    atoms: tuple[Atom, ...] = ()
    before: int = 0
    after: int = 0

    @property
    def size(self) -> int:
        """How many entries it has."""
        return self.before + math.prod(atom.size for atom in self.atoms) + self.after

    @property
    def letter(self) -> str:
        """What it runs over: T for places in any order, "?" for a mixture, "" for one entry."""
        letters = {atom.letter for atom in self.atoms}
        if len(letters) > 1:
            return TOKENS if letters <= PLACES else UNKNOWN
        return next(iter(letters), "")

    @property
    def grid(self) -> tuple[int, int] | None:
        """(rows, columns) where it runs over rows and, within each, columns; None where it does not."""
        rows = [atom for atom in self.atoms if atom.letter == ROWS]
        columns = [atom for atom in self.atoms if atom.letter == COLUMNS]
        ordered = all([a.order for a in part] == sorted(a.order for a in part) for part in (rows, columns))
        if not ordered or [*rows, *columns] != list(self.atoms):
            return None
        return math.prod(atom.size for atom in rows), math.prod(atom.size for atom in columns)


def axis(letter: str, size: int) -> Axis:
    """An axis of one thing; one of a single entry runs over nothing."""
    return Axis((Atom(letter, size),) if size != 1 else ())


def resized(old: Axis, size: int) -> Axis:
    """The same thing, another number of it."""
    return old if size == old.size else axis(old.letter or UNKNOWN, size)


def regrouped(axes: Sequence[Axis], shape: Sequence[int]) -> tuple[Axis, ...]:
    """What reshaping to `shape` makes of `axes`."""
    waiting = list(reversed([part for each in axes for part in _parts(each)]))
    result = []
    for size in shape:
        taken, room = [], size
        while room > 1 and waiting:
            part = waiting.pop()
            if part.size > room and part.size % room == 0:
                part, inner = _split(part, room)
                waiting.append(inner)
            if room % part.size:
                return tuple(axis(UNKNOWN, each) for each in shape)
            taken.append(part)
            room //= part.size
        if room != 1:
            return tuple(axis(UNKNOWN, each) for each in shape)
        result.append(taken[0] if len(taken) == 1 else Axis(tuple(a for part in taken for a in _bare(part))))
    return tuple(result)


def _parts(each: Axis) -> list[Axis]:
    """An axis as axes of one atom each; one with tokens beside its places stays whole."""
    return [each] if each.before or each.after else [Axis((atom,)) for atom in each.atoms]


def _bare(part: Axis) -> tuple[Atom, ...]:
    """Atoms of a part that is joined with others, where tokens beside the places cannot be told from them."""
    return (Atom(TOKENS, part.size),) if part.before or part.after else part.atoms


def _split(part: Axis, outer: int) -> tuple[Axis, Axis]:
    (atom,) = _bare(part)
    inner = replace(atom, size=atom.size // outer, order=(*atom.order, 1))
    return Axis((replace(atom, size=outer, order=(*atom.order, 0)),)), Axis((inner,))
