"""What training images look like, so that a service can tell whether it is shown others."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finetune.trust.novelty import centred_nodes, principal, unit
from models.reference import LEAST, SAMPLE, Reference
from models.runtime import Array

if TYPE_CHECKING:
    from models.nodes import Nodes

AXES = 16  # of the projection, at most
_IMAGES_AN_AXIS = 4  # that have to be held out for each


@dataclass(frozen=True)
class Projector:
    """From an embedding to where it lies among the training images; the network does the same."""

    mean: NDArray[np.float32] = field(repr=False)  # (D,)
    axes: NDArray[np.float32] = field(repr=False)  # (D, R), divided by the deviations

    def project(self, embeddings: Array) -> NDArray[np.float64]:
        """Projections (N, R) of embeddings (N, D)."""
        return np.asarray((unit(embeddings) - self.mean) @ self.axes.astype(np.float64))

    def nodes(self, embedding: str, output: str) -> Nodes:
        """The same as ONNX nodes of opset 18; they make `output`, float32 (N, R)."""
        from models.nodes import Nodes

        nodes = Nodes(f"{output}/")
        rows = nodes.constant("rows", [1], np.int64)
        centred = centred_nodes(nodes, embedding, rows, self.mean)
        nodes.add("MatMul", centred, nodes.constant("axes", self.axes), output=output)
        return nodes


def fit_reference(
    train: Array, held: Array, answers: NDArray[np.int64] | None, classes: int, split: str, seed: int = 0
) -> tuple[Projector, Reference] | None:
    """Learn axes from training embeddings (N, D), and how held-out ones (M, D) lie on them.

    Held-out images, because what was trained on looks surer than what comes later, and because axes fit the images
    that they were chosen by. `answers`: the classes (M,) that the model gives to those; None for a regression.
    `split`: what they are called. None where there are too few of them, or all images are alike.
    """
    x = unit(train)
    mean = x.mean(axis=0)
    directions = principal(x - mean, seed)  # (D, up to 128)
    deviations = ((x - mean) @ directions).std(axis=0)
    usable = int((deviations > 1e-6).sum())
    width = min(AXES, usable, len(held) // _IMAGES_AN_AXIS)
    if width < 1 or len(held) < LEAST:
        return None
    axes = directions[:, :width] / deviations[:width]
    projector = Projector(mean.astype(np.float32), axes.astype(np.float32))
    random = np.random.default_rng(seed)
    cosines = width // 2
    # A kernel as wide as two images are apart on average: R numbers of variance 1 each, twice.
    frequencies = random.normal(size=(width, cosines)) / math.sqrt(2 * width)
    phases = random.uniform(0, 2 * math.pi, cosines)
    lying = projector.project(held)
    kept = np.sort(random.permutation(len(held))[:SAMPLE])
    counts = () if answers is None else tuple(np.bincount(answers, minlength=classes).tolist())
    return projector, Reference(
        len(held),
        split,
        counts,
        lying.mean(axis=0),
        np.cov(lying, rowvar=False).reshape(width, width),
        lying[kept].astype(np.float32),
        np.zeros(len(kept), np.int64) if answers is None else answers[kept].astype(np.int64),
        frequencies,
        phases,
    )
