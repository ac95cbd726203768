"""The work itself: images in, vectors out. No queues, no files, no threads, so that any engine can run it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from feature_extraction.items import Content, ImageItem, read_item
from models.errors import GraftError, NumericsError
from models.features import FeatureModel
from models.fingerprint import image_digest
from models.runtime import Array

Rows = tuple[Array, ...]  # the features of one image, one array a cut


class View(Protocol):
    """A way to change images, the same for the same image in every run."""

    def digest(self, image: bytes) -> bytes:
        """What the changed image is known by in caches, from the digest of the image."""

    def apply(self, image: Image.Image, digest: bytes) -> Image.Image:
        """The changed image; `digest` is that of the file, `image` is decoded, upright and RGB."""


@dataclass(frozen=True)
class Vectors:
    """Features of some images: `arrays` holds one array a cut, with a row for each of `ids`.

    Where images have several views, an image stands in `names` and `ids` once for each of them.
    """

    names: list[str]  # all the images that went in, those that failed included
    ids: list[str]
    arrays: dict[str, Array]
    failures: list[tuple[str, GraftError]]


class Worker:
    """Turns image items into vectors. Safe to use from several threads."""

    def __init__(self, features: FeatureModel) -> None:
        """Work with an opened model; see `models.features.open_features`."""
        self.features = features
        self.cuts = features.cuts
        self._preprocessing = features.model.card.preprocessing

    def __call__(self, items: Iterable[ImageItem]) -> Vectors:
        """Read, decode and run some images at once; one that fails harms no other."""
        return collect(self.cuts, self.results(items))

    def results(self, items: Iterable[ImageItem]) -> list[tuple[str, Rows | GraftError]]:
        """The same image by image, in their order: for each its name, and its rows or why there are none."""
        named: list[tuple[str, Rows | GraftError]] = []
        pixels: list[NDArray[np.uint8]] = []
        waiting: list[int] = []
        for item in items:
            try:
                pixels.append(self.decode(item, read_item(item)))
                waiting.append(len(named))
                named.append((item.id, ()))
            except GraftError as exc:
                named.append((item.id, exc))
        if pixels:
            results = self.infer(np.stack(pixels), [named[i][0] for i in waiting])  # (N, H, W, 3)
            for i, result in zip(waiting, results, strict=True):
                named[i] = (named[i][0], result)
        return named

    def decode(self, item: ImageItem, content: Content) -> NDArray[np.uint8]:
        """The pixels that the model takes, uint8 (H, W, 3).

        Raises:
            ImageError: not an image that can be read.
        """
        return self._preprocessing.load(content, name=item.id)

    def decode_views(
        self, item: ImageItem, content: Content, views: Sequence[View], digest: bytes | None = None
    ) -> list[NDArray[np.uint8]]:
        """The pixels of views of an image, which is decoded once: uint8 (H, W, 3) each.

        Raises:
            ImageError: not an image that can be read.
        """
        image = self._preprocessing.upright(content, name=item.id)
        digest = digest or image_digest(content)
        return [self._preprocessing.load(view.apply(image, digest), name=item.id) for view in views]

    def infer(self, pixels: NDArray[np.uint8], names: Iterable[str]) -> list[Rows | GraftError]:
        """Features of decoded images, uint8 (N, H, W, 3): for each its rows, or why there are none.

        Raises:
            ModelError: the network itself fails, out of memory included.
        """
        arrays = self.features.model.run(pixels, self.cuts, batch_size=len(pixels))
        good = np.ones(len(pixels), np.bool_)
        for array in arrays:
            good &= np.isfinite(array).reshape(len(pixels), -1).all(axis=1)
        return [
            tuple(array[i] for array in arrays) if good[i] else _not_finite(name)
            for i, name in enumerate(names)
        ]


def collect(cuts: Iterable[str], named: Iterable[tuple[str, Rows | GraftError]]) -> Vectors:
    """Put the results of single images together, in their order."""
    names: list[str] = []
    ids: list[str] = []
    rows: list[Rows] = []
    failures: list[tuple[str, GraftError]] = []
    for name, result in named:
        names.append(name)
        if isinstance(result, GraftError):
            failures.append((name, result))
        else:
            ids.append(name)
            rows.append(result)
    arrays = {cut: np.stack([row[i] for row in rows]) for i, cut in enumerate(cuts)} if rows else {}
    return Vectors(names, ids, arrays, failures)


def _not_finite(name: str) -> NumericsError:
    return NumericsError(
        f"{name}: the model answers with NaN or infinity; expected numbers. If float16 was asked for, it ends at "
        "65,504: use float32 or --normalize l2; else the weights are damaged."
    )
