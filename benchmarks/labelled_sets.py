"""Labelled images for measuring what is learned: public sets, in images to learn from and images to measure on.

clothing_10, notMNIST and Tiny ImageNet's validation images are files of `GRAFT_DATA`; digits, and the photos that are
cut into tiles, come with scikit-learn and scikit-image.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from feature_extraction.items import ImageItem
from finetune.dataset.opening import open_split

TILE = 48  # pixels; tiles of a class do not overlap
_MOST = 120  # images of a class to learn from
_MEASURED = 40  # and to measure on
_WORDS = 40  # classes of Tiny ImageNet
_SEED = 0


@dataclass(frozen=True)
class LabelledSet:
    """For each class its images to learn from, and others to measure on."""

    name: str
    learned: Mapping[str, Sequence[ImageItem]]
    measured: Mapping[str, Sequence[ImageItem]]

    @property
    def classes(self) -> list[str]:
        """Names in order."""
        return sorted(self.learned)


def labelled_sets() -> dict[str, Callable[[], LabelledSet]]:
    """Name -> the function that opens it."""
    return {"clothing": clothing, "glyphs": glyphs, "words": words, "digits": digits, "tiles": tiles}


def clothing() -> LabelledSet:
    """clothing_10: 10 kinds of clothes, 100 photos each to learn from, 372 to measure on."""
    parts = []
    for split in ("train", "test"):
        images: dict[str, list[ImageItem]] = {}
        for example in open_split(_data() / "clothing_10", split).examples:
            images.setdefault(example.label, []).append(example.item)
        parts.append(images)
    return LabelledSet("clothing", *parts)


def glyphs() -> LabelledSet:
    """notMNIST: the letters A to J in many fonts, 28 pixels; a mirrored one is another letter or none."""
    folder = _data() / "notmnist_10k"
    raw = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    labels = np.frombuffer(
        gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8
    )
    pixels = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)
    return _divided("glyphs", pixels, [chr(ord("A") + label) for label in labels.tolist()])


def digits() -> LabelledSet:
    """scikit-learn's digits, 8 pixels: the ink stands for 0 to 16."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.clip(bunch.images * 16, 0, 255).astype(np.uint8)
    return _divided("digits", pixels, [str(label) for label in bunch.target.tolist()])


def words() -> LabelledSet:
    """Validation images of 40 classes of Tiny ImageNet, 64 pixels: 30 each to learn from, 20 to measure on."""
    learned: dict[str, list[ImageItem]] = {}
    measured: dict[str, list[ImageItem]] = {}
    with zipfile.ZipFile(_data() / "tiny_imagenet_200.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.startswith("val/") and n.endswith(".webp"))
        classes = sorted({name.split("/")[1] for name in names})
        kept = np.random.default_rng(_SEED).choice(classes, _WORDS, replace=False).tolist()
        for name in names:
            label = name.split("/")[1]
            if label in kept:
                side = learned if len(learned.setdefault(label, [])) < 30 else measured
                side.setdefault(label, []).append(_item(name, archive.read(name)))
    return LabelledSet("words", learned, measured)


def tiles() -> LabelledSet:
    """scikit-learn's and scikit-image's photos cut into tiles, a class a photo: its left part to learn from."""
    import skimage.data
    from sklearn.datasets import load_sample_image

    names = (
        "astronaut", "brick", "camera", "cat", "coffee", "coins", "grass", "gravel", "hubble_deep_field",
        "immunohistochemistry", "moon", "page", "retina", "rocket", "text",
    )  # fmt: skip
    photos = {name: getattr(skimage.data, name)() for name in names}
    photos |= {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    learned: dict[str, list[ImageItem]] = {}
    measured: dict[str, list[ImageItem]] = {}
    for name, photo in photos.items():
        border = int(0.6 * photo.shape[1])
        for side, first, last, most in (
            (learned, 0, border, _MOST),
            (measured, border, photo.shape[1], _MEASURED),
        ):
            corners = [
                (y, x)
                for y in range(0, photo.shape[0] - TILE + 1, TILE)
                for x in range(first, last - TILE + 1, TILE)
            ]
            order = np.random.default_rng(_SEED).permutation(len(corners))[:most]
            side[name] = [
                _item(f"{name} {y} {x}", _png(photo[y : y + TILE, x : x + TILE]))
                for y, x in (corners[i] for i in order)
            ]
    return LabelledSet("tiles", learned, measured)


def _divided(name: str, pixels: NDArray[np.uint8], labels: Sequence[str]) -> LabelledSet:
    learned: dict[str, list[ImageItem]] = {}
    measured: dict[str, list[ImageItem]] = {}
    for i in np.random.default_rng(_SEED).permutation(len(labels)).tolist():
        label = labels[i]
        side = measured if len(measured.setdefault(label, [])) < _MEASURED else learned
        if len(side.setdefault(label, [])) < _MOST:
            side[label].append(_item(f"{label} {i:05}", _png(pixels[i])))
    return LabelledSet(name, learned, measured)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).convert("RGB").save(stream, "PNG")
    return stream.getvalue()


def _item(name: str, data: bytes) -> ImageItem:
    """An image under a name that says nothing of its class to what goes by names."""
    return ImageItem(hashlib.sha256(name.encode()).hexdigest()[:16], lambda: data)


def _data() -> Path:
    return Path(os.environ["GRAFT_DATA"])
