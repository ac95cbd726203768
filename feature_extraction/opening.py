"""Images that a program holds already: arrays, Pillow images, bytes, or anything that yields them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from feature_extraction.items import ImageItem, Tally, file_item, held_item
from feature_extraction.sources import images
from feature_extraction.tables import row_image, table_images, table_of
from models.errors import SourceError

Source = str | Path | NDArray[np.uint8] | Iterable[Any]


def open_images(source: Source, tally: Tally | None = None) -> Iterator[ImageItem]:
    """The images of whatever a caller has.

    `source`: a path, glob or archive as `sources.images` takes it; an array, uint8 (N, H, W, 3) or one image
    (H, W, 3); or an iterable of image files' paths, encoded bytes, Pillow images, arrays, `ImageItem`s, or pairs
    (id, one of these); or a table with a column of these (`feature_extraction.tables`), or rows of one. Images without
    a name of their own are called by their position, from 0.

    Raises:
        SourceError: something that is no image and names none.
    """
    if isinstance(source, (str, os.PathLike)):
        yield from images(os.fspath(source), tally)
        return
    if (table := table_of(source)) is not None:
        yield from table_images(table)
        return
    if isinstance(source, np.ndarray) and not (source.ndim == 1 and source.dtype.kind in "OUS"):
        source = source[None] if source.ndim == 3 else source  # (N, H, W, 3)
        if source.ndim != 4:
            raise SourceError(
                f"an array of {source.dtype} {source.shape}; expected images, uint8 (N, H, W, 3). Reshape it."
            )
    elif isinstance(source, (bytes, Image.Image)) or not isinstance(source, Iterable):
        raise SourceError(
            f"{_kind(source)} is one thing; expected a path or several images. Put it into a list."
        )
    for position, thing in enumerate(source):
        yield _item(thing, position)


def _item(thing: Any, position: int) -> ImageItem:
    if isinstance(thing, ImageItem):
        return thing
    if isinstance(thing, Mapping):
        return row_image(thing, position)
    name = None
    if isinstance(thing, tuple) and len(thing) == 2:
        name, thing = str(thing[0]), thing[1]
    if isinstance(thing, (str, os.PathLike)):
        return file_item(os.fspath(thing), name)
    if isinstance(thing, (bytes, Image.Image, np.ndarray)):
        return held_item(name or str(position), thing)
    raise SourceError(
        f"item {position} is {_kind(thing)}; expected a path, bytes, a Pillow image or an array. Convert it first."
    )


def _kind(thing: object) -> str:
    return f"a {type(thing).__name__}"
