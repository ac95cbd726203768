"""Images in MNIST's idx files, compressed or not: `*-images-idx3-ubyte.gz` with `*-labels-idx1-ubyte.gz` beside it.

Format: Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits": two zero bytes, the type
(8 is uint8), the number of dimensions, then each dimension as a big-endian 32-bit number, then the values.
"""

from __future__ import annotations

import gzip
import os
import re
import struct
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feature_extraction.items import ImageItem
from finetune.dataset.examples import Dataset, Example, Split
from models.errors import SourceError

_IMAGES = re.compile(r"(?P<stem>.*?)(?P<sep>[-.])?images[-.]idx3-ubyte(?P<gz>\.gz)?")
_MEMBER = re.compile(r"(.*)\[(\d+)\]")
_NAMES = "labels.txt"
_UBYTE = 8
_MOST = 4 << 30  # bytes that a file may unpack to


def holds_idx(path: Path) -> bool:
    """Whether a path is a file of images in idx format, or a folder with one."""
    return bool(_image_files(path))


def from_idx(path: Path) -> Dataset:
    """The examples of all pairs of idx files in a folder; `train-images...` and `t10k-images...` are splits.

    Classes are "0", "1" ..., or the lines of `labels.txt` in the folder. Images are called `t10k-images[123]`.

    Raises:
        SourceError: labels are missing, or a file is damaged.
    """
    files = _image_files(path)
    names = _class_names(files[0].parent / _NAMES)
    examples: list[Example] = []
    for file in files:
        labels_file = file.with_name(file.name.replace("images", "labels").replace("idx3", "idx1"))
        labels = read_idx(labels_file, 1)
        images = read_idx(file, 3)
        if len(labels) != len(images):
            raise SourceError(
                f"{file}: {len(images):,} images but {len(labels):,} labels in {labels_file.name}; expected as many. "
                "Download both again."
            )
        stem = file.name.partition("-idx3")[0].partition(".idx3")[0]
        split = _split(stem) if len(files) > 1 else None
        for i, number in enumerate(labels.tolist()):
            name = f"{stem}[{i}]"
            item = ImageItem(str(file.parent / name), partial(_rgb, images[i]))
            label = names[number] if number < len(names) else str(number)
            examples.append(Example(item, label, split=split, name=name))
    classes = tuple(sorted({example.label for example in examples}))
    return Dataset(str(path), "classification", tuple(examples), classes)


def image_at(path: str, known: dict[Path, NDArray[np.uint8]]) -> ImageItem | None:
    """The image that `folder/t10k-images[123]` names; None where there is none. `known` keeps files read before."""
    match = _MEMBER.fullmatch(path)
    if not match:
        return None
    folder, stem = os.path.split(match[1])
    for ending in ("-idx3-ubyte.gz", "-idx3-ubyte", ".idx3-ubyte.gz", ".idx3-ubyte"):
        file = Path(folder) / f"{stem}{ending}"
        if file.is_file():
            if file not in known:
                known[file] = read_idx(file, 3)
            images, number = known[file], int(match[2])
            return ImageItem(path, partial(_rgb, images[number])) if number < len(images) else None
    return None


def read_idx(file: Path, dimensions: int) -> NDArray[np.uint8]:
    """The values of an idx file of bytes, read-only.

    Raises:
        SourceError: not there, another type, or cut off.
    """
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            head = stream.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions or head[:4] != bytes((0, 0, _UBYTE, dimensions)):
                raise SourceError(
                    f"{file}: no idx file of {dimensions} dimensions of bytes. Download it again."
                )
            shape = struct.unpack(f">{dimensions}I", head[4:])
            count = int(np.prod(shape, dtype=np.uint64))
            if count > _MOST:
                raise SourceError(f"{file}: {shape} values are declared; at most {_MOST >> 30} GiB are read.")
            data = stream.read(count)
    except (OSError, EOFError, zlib.error) as exc:
        raise SourceError(f"{file}: cannot be read ({exc}). Check the file, or download it again.") from exc
    if len(data) < count:
        raise SourceError(f"{file}: cut off after {len(data):,} of {count:,} values. Download it again.")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _image_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if _IMAGES.fullmatch(path.name) else []
    if not path.is_dir():
        return []
    try:
        return sorted(file for file in path.iterdir() if _IMAGES.fullmatch(file.name) and file.is_file())
    except OSError:  # said where the folder is listed
        return []


def _class_names(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split("\n") if file.is_file() else []
    except (OSError, UnicodeDecodeError) as exc:
        raise SourceError(
            f"{file}: cannot be read as names of classes ({exc}); expected one a line."
        ) from exc


def _split(stem: str) -> Split:
    return "train" if stem.lower().startswith("train") else "test"


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(image[:, :, None], 3, axis=2)  # (H, W, 3)
