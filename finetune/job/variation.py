"""Whether what the frozen network gives differs from image to image: if not, nothing can be learned from it."""

from __future__ import annotations

import numpy as np

from models.errors import ModelError
from models.runtime import Array

_LEAST = 1e-6  # of the largest value: below it, differences are those of rounding
_FEW = 0.1  # share of features that vary below which a user is warned
_LITTLE = 1e-4  # of the features themselves, in how much they differ; float32 rounds a thousandth of that


def variation_warnings(vectors: Array, different: bool, name: str, cut: str) -> list[str]:
    """What to say of features (N, D) of a network at a cut, of which few vary, or all by little.

    `different`: whether the images do.

    Raises:
        ModelError: not one of them varies.
    """
    if not different or not vectors.size:
        return []
    spread = np.ptp(vectors, axis=0)  # (D,)
    largest = max(float(np.abs(vectors).max()), float(np.finfo(np.float32).tiny))
    varying = spread > _LEAST * largest
    if not varying.any():
        raise ModelError(
            f"{name}: gives the same {vectors.shape[1]:,} features at {cut} for all {len(vectors):,} images, so "
            "nothing can be learned from them. They may look alike, such as images of one colour. Or its weights or "
            "its export are broken, or its pixels are scaled wrongly: import it again with another --scale (`graft "
            "models import FILE --check PHOTO`), or take another cut."
        )
    doubt = "is its export sound, and are its pixels scaled rightly?"
    if varying.mean() < _FEW:
        few = f"only {int(varying.sum()):,} of the network's {len(varying):,} features at {cut}"
        return [f"{few} differ from image to image: {doubt}"]
    exact = vectors.astype(np.float64)
    little = float(np.linalg.norm(exact - exact.mean(axis=0)) / np.linalg.norm(exact))
    if little >= _LITTLE:
        return []
    return [
        f"the network's features at {cut} differ from image to image by {little:.1g} of their size, which is hardly "
        f"more than rounding: {doubt}"
    ]
