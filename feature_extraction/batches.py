"""Batches of decoded images, made ahead in threads while the caller works on the last ones."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from feature_extraction.items import ImageItem
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
    workers = threads or min(8, os.cpu_count() or 1)
    stream = iter(items)
    waiting: deque[Future[Batch[Tag]]] = deque()
    with ThreadPoolExecutor(workers, "graft-decode") as pool:
        try:
            while chunk := list(islice(stream, batch_size)):
                waiting.append(pool.submit(_decode_batch, chunk, preprocessing))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # the caller may stop early: what has not begun is not begun
            for future in waiting:
                future.cancel()


def _decode_batch(items: list[tuple[ImageItem, Tag]], preprocessing: Preprocessing) -> Batch[Tag]:
    rows: list[NDArray[np.uint8]] = []
    failures: dict[int, GraftError] = {}
    for i, (item, _) in enumerate(items):
        try:
            rows.append(preprocessing.load(item.read(), name=item.id))
        except GraftError as exc:
            failures[i] = exc
    pixels = np.stack(rows) if rows else np.empty((0, 0, 0, 3), np.uint8)  # (N, H, W, 3)
    return Batch(items, pixels, failures)
