"""Sets that grow together: what belongs to one another by any chain of links."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol, Self

from finetune.dataset.examples import Example


class Together(Protocol):
    """Positions that belong together, such as a group of copies."""

    @property
    def indices(self) -> tuple[int, ...]:
        """The positions."""


class Unions:
    """Positions 0 to `count` - 1, each in a set of its own until two of them are joined."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    @classmethod
    def of(cls, examples: Sequence[Example], groups: Iterable[Together]) -> Self:
        """The examples, those of one `group` joined, and those of each of `groups`."""
        joined = cls(len(examples))
        for group in groups:
            for i in group.indices[1:]:
                joined.join(group.indices[0], i)
        named: dict[str, int] = {}
        for i, example in enumerate(examples):
            if example.group is not None:
                joined.join(named.setdefault(example.group, i), i)
        return joined

    def root(self, i: int) -> int:
        """The smallest position in the same set."""
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i

    def join(self, a: int, b: int) -> None:
        """Make one set of two."""
        low, high = sorted((self.root(a), self.root(b)))
        self._parent[high] = low

    def sets(self) -> list[list[int]]:
        """All sets in the order of their smallest members, each ascending."""
        members: dict[int, list[int]] = defaultdict(list)
        for i in range(len(self._parent)):
            members[self.root(i)].append(i)
        return list(members.values())
