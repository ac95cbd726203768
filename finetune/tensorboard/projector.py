"""Vectors for TensorBoard's embedding projector: what its plugin reads beside the event files.

A folder for each embedding holds `tensors.tsv`, `metadata.tsv` and `sprite.png`; `projector_config.pbtxt` names them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from models.errors import GraphError

CONFIG = "projector_config.pbtxt"
_LARGEST = 8192  # pixels of a side of the sprite image that browsers show


@dataclass(frozen=True)
class Embedding:
    """What the configuration says of one embedding; `tile` is the side of a thumbnail in pixels, 0 without any."""

    folder: str
    tile: int
    labels: bool


def write_embedding(
    folder: Path, name: str, vectors: ArrayLike, labels: Sequence[str] | None, images: NDArray[Any] | None
) -> Embedding:
    """Write the files of one embedding: vectors (N, D), labels of N, images uint8 (N, S, S, 3).

    Raises:
        GraphError: shapes that do not fit, or a folder that cannot be written.
    """
    points = np.asarray(vectors)
    if points.ndim != 2 or not points.size or points.dtype.kind not in "fiu":
        raise GraphError(f"embedding {name}: {points.dtype} {points.shape}; expected numbers (N, D).")
    if labels is not None and len(labels) != len(points):
        raise GraphError(f"embedding {name}: {len(labels)} labels for {len(points)} vectors.")
    tile = 0 if images is None else _tile(name, images, len(points))
    inside = (
        "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name).lstrip(".") or "_"
    )
    target = folder / inside
    try:
        target.mkdir(parents=True, exist_ok=True)
        with open(target / "tensors.tsv", "w", encoding="ascii", newline="\n") as file:
            row = "\t".join(["%.6g"] * points.shape[1]) + "\n"
            file.writelines(row % tuple(point) for point in points.tolist())
        if labels is not None:
            lines = [" ".join(label.split()) or "-" for label in labels]  # tabs would be columns
            (target / "metadata.tsv").write_text("".join(f"{line}\n" for line in lines), "utf-8")
        if images is not None:
            _sprite(images, tile).save(target / "sprite.png")
    except OSError as exc:
        raise GraphError(
            f"{target}: the embedding cannot be written there ({exc}). Choose another folder."
        ) from exc
    return Embedding(inside, tile, labels is not None)


def write_config(folder: Path, embeddings: Mapping[str, Embedding]) -> None:
    """Tell the plugin of all embeddings in `folder`; a text of the protocol buffer ProjectorConfig."""
    parts = []
    for name, one in embeddings.items():
        lines = [f'tensor_name: "{_escaped(name)}"', f'tensor_path: "{one.folder}/tensors.tsv"']
        if one.labels:
            lines.append(f'metadata_path: "{one.folder}/metadata.tsv"')
        if one.tile:
            sizes = f"single_image_dim: {one.tile} single_image_dim: {one.tile}"
            lines.append(f'sprite {{ image_path: "{one.folder}/sprite.png" {sizes} }}')
        parts.append("embeddings {\n" + "".join(f"  {line}\n" for line in lines) + "}\n")
    (folder / CONFIG).write_text("".join(parts), "utf-8")


def _tile(name: str, images: NDArray[Any], count: int) -> int:
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[::3] != (count, 3)
        or len({*images.shape[1:3]}) > 1
    ):
        raise GraphError(
            f"embedding {name}: images are {images.dtype} {images.shape}; expected uint8 ({count}, S, S, 3), squares "
            "as the projector shows them."
        )
    return max(1, min(int(images.shape[1]), _LARGEST // math.ceil(math.sqrt(count))))


def _sprite(images: NDArray[Any], tile: int) -> Image.Image:
    """All images in one square, row by row."""
    side = math.ceil(math.sqrt(len(images)))
    sheet = Image.new("RGB", (side * tile, side * tile))
    for i, pixels in enumerate(images):
        image = Image.fromarray(np.ascontiguousarray(pixels))
        if image.width != tile:
            image = image.resize((tile, tile), Image.Resampling.BOX)
        sheet.paste(image, (i % side * tile, i // side * tile))
    return sheet


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
