"""Images that are there more than once: the same file, or the same picture saved, resized, cropped or mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from finetune.dataset.matching import near_pairs
from finetune.dataset.scanning import Facts
from finetune.dataset.unions import Unions
from models.runtime import Array


@dataclass(frozen=True)
class Group:
    """Images that are copies of one another, by their positions, ascending.

    "exact": the same bytes. "near": the same picture, not all of them the same bytes.
    """

    indices: tuple[int, ...]
    kind: Literal["exact", "near"]


def duplicate_groups(facts: Sequence[Facts], embeddings: Array | None = None) -> list[Group]:
    """Groups of copies in the order of their first image; no image is in two groups.

    Files with the same digest are copies. Pictures whose hashes are near, or whose `embeddings` (N, D) point the same
    way, are compared by their pixels, as they are and mirrored, at several crops (`finetune.dataset.matching`). A row
    of embeddings that is not finite has none.
    """
    first: dict[bytes, int] = {}
    joined = Unions(len(facts))
    kept: list[int] = []  # one of each exact group
    for i, one in enumerate(facts):
        if one.error is None:
            if one.digest in first:
                joined.join(first[one.digest], i)
            else:
                first[one.digest] = i
                kept.append(i)
    rows = None if embeddings is None else embeddings[kept]
    for a, b in near_pairs([facts[i] for i in kept], rows):
        joined.join(kept[a], kept[b])
    return [
        Group(tuple(members), "exact" if len({facts[i].digest for i in members}) == 1 else "near")
        for members in joined.sets()
        if len(members) > 1
    ]
