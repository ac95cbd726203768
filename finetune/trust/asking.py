"""Asking a model about images of which the truth is known: who cannot be read, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic

from feature_extraction.batches import Batch, Tag, decoded_batches
from feature_extraction.items import ImageItem
from models.errors import InputError
from models.model import Model


@dataclass(frozen=True)
class Asked:
    """How many images were answered, which could not be read, and the seconds that it took."""

    images: int
    failed: tuple[tuple[str, str], ...]  # (image, reason)
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Images answered a second, decoding included."""
        return self.images / self.seconds


class Asking(Generic[Tag]):
    """Goes once over images and what is known of each, and keeps account of it."""

    def __init__(
        self,
        model: Model,
        items: Sequence[tuple[ImageItem, Tag]],
        expected: str,
        threads: int | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        """`expected`: what the images are, for whoever has none. `progress` hears (images done, images in all)."""
        self._model, self._items, self._expected = model, items, expected
        self._threads, self._progress = threads, progress
        self._failed: list[tuple[str, str]] = []
        self._images, self._started = 0, time.perf_counter()

    def batches(self) -> Iterator[Batch[Tag]]:
        """The batches with an image that can be read, decoded in threads while others are answered.

        Raises:
            InputError: behind the last one, where not one image can be read.
        """
        done, model = 0, self._model
        for batch in decoded_batches(self._items, model.card.preprocessing, model.batch_size, self._threads):
            self._failed += [(batch.items[i][0].id, str(error)) for i, error in batch.failures.items()]
            if len(batch.pixels):
                yield batch
            self._images += len(batch.pixels)
            done += len(batch.items)
            if self._progress:
                self._progress(done, len(self._items))
        if not self._images:
            reason = self._failed[0][1] if self._failed else "there was none"
            raise InputError(
                f"no image could be read out of {done}; expected {self._expected}. The first: {reason}"
            )

    def account(self) -> Asked:
        """Of all batches, and the time until now."""
        return Asked(self._images, tuple(self._failed), time.perf_counter() - self._started)
