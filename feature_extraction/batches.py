"""Batches of decoded images, made ahead in threads while the caller works on the last ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from feature_extraction.items import ImageItem
from feature_extraction.ordered import ordered_map
from models.cores import cores
from models.errors import GraftError
from models.preprocessing import Preprocessing

Tag = TypeVar("Tag")


@dataclass(frozen=True)
class Batch(Generic[Tag]):
    """Some images in their order: for each either a row of `pixels` or the reason why there is none."""

    items: list[tuple[ImageItem, Tag]]
    pixels: NDArray[np.uint8]  # (images that could be read, H, W, 3)
    failures: dict[int, GraftError] = field(default_factory=dict)  # by position in `items`

    @property
    def good(self) -> list[tuple[ImageItem, Tag]]:
        """The items that the rows of `pixels` belong to."""
        return [item for i, item in enumerate(self.items) if i not in self.failures]


def decoded_batches(
    items: Iterable[tuple[ImageItem, Tag]],
    preprocessing: Preprocessing,
    batch_size: int,
    threads: int | None = None,
) -> Iterator[Batch[Tag]]:
    """Read and decode images in `threads` threads (None: one a core, at most 8), in order.

    Each item carries a tag of the caller's, a class or None. At most `threads + 1` batches exist at once, however
    many images there are. An image that cannot be read is in `failures`; it never harms its neighbours.
    """
    workers = threads or min(8, cores())
    stream = iter(items)
    chunks = iter(lambda: list(islice(stream, batch_size)), [])
    decode = partial(_decode_batch, preprocessing)
    return ordered_map(decode, chunks, threads=workers, ahead=workers, name="graft-decode")


def _decode_batch(preprocessing: Preprocessing, items: list[tuple[ImageItem, Tag]]) -> Batch[Tag]:
    rows: list[NDArray[np.uint8]] = []
    failures: dict[int, GraftError] = {}
    for i, (item, _) in enumerate(items):
        try:
            rows.append(preprocessing.load(item.read(), name=item.id))
        except GraftError as exc:
            failures[i] = exc
    pixels = np.stack(rows) if rows else np.empty((0, 0, 0, 3), np.uint8)  # (N, H, W, 3)
    return Batch(items, pixels, failures)
