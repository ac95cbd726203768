"""Explains images, one at a time for all models, on one core: those that classify come first."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.extras import full_installation
from models.preprocessing import Preprocessing, thumbnail_and_size
from service.batching import Batcher
from service.bodies.upload import Upload
from service.caller import Caller
from service.served import Served
from service.turns import end_turn

# Brings onnx and the graph, which a service that only classifies need not pay for.
if TYPE_CHECKING:
    from finetune.explain.heatmap import Heatmap

_FIRST_S = 0.5  # a guess of what one takes, before any has been seen


@dataclass(frozen=True)
class Photo:
    """An image that is to be explained.

    `pixels`: what the network sees, (H, W, 3). `small`: the upright photo, as large as it is shown. `size`: (width,
    height) of the whole one.
    """

    pixels: NDArray[np.uint8]
    small: Image.Image
    size: tuple[int, int]


@dataclass(frozen=True)
class Question:
    """What is asked about a photo: which class, or how many of the most probable ones; as a picture, or as maps."""

    photo: Photo
    classes: tuple[str, ...]  # ids or names; empty for the most probable ones
    top_k: int
    picture: bool


@dataclass(frozen=True)
class Explanation:
    """Maps, best class first; or the bytes of a PNG with one of them over the photo."""

    maps: Sequence[Heatmap]
    picture: bytes = b""


def load_photo(upload: Upload, preprocessing: Preprocessing, side: int) -> Photo:
    """Decode an image; `side`: the longest one of its small copy, in pixels.

    Raises:
        ImageError: not an image that can be read.
    """
    small, size = thumbnail_and_size(upload.content, side, name=upload.name)
    return Photo(preprocessing.load(upload.content, name=upload.name), small, size)


class Explaining:
    """The one place where images are explained. Safe to use from all threads."""

    def __init__(self, most_queued: int) -> None:
        self._most_queued = most_queued
        self._batcher: Batcher | None = None
        self._starting = threading.Lock()

    def explain(self, served: Served, cut: str | None, question: Question, caller: Caller) -> Explanation:
        """What in a photo speaks for classes.

        Raises:
            ModelError, CutError, GraphError: the network cannot be explained, or not there.
            InputError: no such class.
            OverloadedError, DeadlineError, CancelledError: as `Caller.rows`.
        """
        with self._starting:
            if self._batcher is None:
                self._batcher = Batcher(_explain, largest=1, most_queued=self._most_queued, item_s=_FIRST_S)
        end_turn()
        (row,) = caller.rows(self._batcher, [question], (served, cut))
        if isinstance(row, Exception):
            raise row
        assert isinstance(row, Explanation)
        return row

    def close(self) -> None:
        """Explain nothing any more."""
        with self._starting:
            if self._batcher is not None:
                self._batcher.close()


def _explain(key: Any, questions: Sequence[Question], crowded: bool) -> list[Explanation]:
    served, cut = key
    (question,) = questions
    photo = question.photo
    maps = served.grad_cam(cut).explain_pixels(
        photo.pixels, photo.size, photo.small.size, question.classes, top_k=question.top_k
    )
    if not question.picture:
        return [Explanation(maps)]
    with full_installation("drawing a heat map"):
        from finetune.explain.overlay import overlay, png

        return [Explanation(maps, png(overlay(photo.small, maps[0])))]
