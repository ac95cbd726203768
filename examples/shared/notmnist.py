"""The notMNIST glyphs: 28x28 pictures of the letters A to J, and the loop that the examples train with."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graft import autodiff as ad

IMAGES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
SOURCE = "https://github.com/davidflanagan/notMNIST-to-MNIST"
LETTERS = "ABCDEFGHIJ"
TRAINING = 8_000  # glyphs to learn from; the others are for the test
BATCH = 64


class Glyphs(NamedTuple):
    """Images, float32 (N, 784) from -0.5 to 0.5, and labels, int64 (N,)."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


def load() -> tuple[Glyphs, Glyphs]:
    """8,000 glyphs to learn from and 2,000 to test with, mixed once and for all."""
    folder = Path(os.environ.get("GRAFT_DATA", "data")) / "notmnist_10k"
    missing = [name for name in (IMAGES, LABELS) if not (folder / name).exists()]
    if missing:
        raise SystemExit(
            f"{folder} holds no {' and no '.join(missing)}. They are part of {SOURCE} (MIT licence): put them there, "
            "or set GRAFT_DATA to the folder that holds notmnist_10k."
        )
    pixels = np.frombuffer(gzip.decompress((folder / IMAGES).read_bytes()), np.uint8, offset=16)
    letters = np.frombuffer(gzip.decompress((folder / LABELS).read_bytes()), np.uint8, offset=8)
    order = np.random.default_rng(0).permutation(len(letters))
    images = (pixels.reshape(-1, 784)[order] / 255 - 0.5).astype(np.float32)
    labels = letters[order].astype(np.int64)
    return Glyphs(images[:TRAINING], labels[:TRAINING]), Glyphs(images[TRAINING:], labels[TRAINING:])


def batches(glyphs: Glyphs, seed: int) -> Iterator[Glyphs]:
    """All glyphs once, `BATCH` at a time, in an order that `seed` decides; what does not fill a batch is left out."""
    order = np.random.default_rng(seed).permutation(len(glyphs.labels))
    for start in range(0, len(order) - BATCH + 1, BATCH):
        chosen = order[start : start + BATCH]
        yield Glyphs(glyphs.images[chosen], glyphs.labels[chosen])


def train(
    graph: ad.Graph, x: ad.Tensor, y: ad.Tensor, logits: ad.Tensor, step: ad.Operation, epochs: int
) -> float:
    """Train with `step`, tell how it goes, and return the accuracy on the test glyphs."""
    learn, test = load()
    session = ad.Session(graph)
    accuracy = 0.0
    for epoch in range(epochs):
        for part in batches(learn, seed=epoch):
            session.run(step, {x: part.images, y: part.labels})
        right = session.run(logits, {x: test.images}).argmax(1) == test.labels
        accuracy = float(right.mean())
        print(f"epoch {epoch + 1}: {accuracy:.2%} of {len(right):,} test glyphs right")
    return accuracy
