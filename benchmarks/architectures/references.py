"""What both exporting scripts write down of a network: images, sums to know tensors by, and Grad-CAM maps of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST_PLACES = 4096
# Of the pixels, by a millionth or so, as much as the order of a sum makes out: what lies at the kink of a Relu falls to
# either side.
NUDGES = tuple(size for size in (1e-7, 1e-6, 1e-5) for _ in range(10))

Array = NDArray[Any]


def two_images(side: int) -> NDArray[np.uint8]:
    """Soft patches of colour, (2, side, side, 3)."""
    small = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    resized = [Image.fromarray(each).resize((side, side), Image.Resampling.BICUBIC) for each in small]
    return np.stack([np.asarray(each) for each in resized])


def sums(values: Array) -> list[float]:
    """Numbers by which a tensor is known again, in whatever order its axes are."""
    return [float(f(values)) for f in (lambda v: np.abs(v).sum(), np.max, np.min)]


def grad_cams(label: str, values: Array, slopes: Array) -> dict[str, Any]:
    """Grad-CAM of one image at a tensor, in each way in which its axes may be meant: (C, H, W), (H, W, C), (T, C)."""
    readings = []
    if values.ndim == 3:
        for channels in (0, 2):
            places = tuple(axis for axis in range(3) if axis != channels)
            readings.append((values * slopes.mean(places, keepdims=True)).sum(channels))
    else:
        for beside in (0, 1, 2, 5):  # class tokens and registers
            weights = slopes[beside:].mean(0, keepdims=True)
            readings.append((values[beside:] * weights).sum(1))
    # Images are square: axes that are not as long as each other are no places.
    square = [r for r in readings if 0 < r.size <= MOST_PLACES and (r.ndim == 1 or r.shape[0] == r.shape[1])]
    maps = [np.maximum(r, 0).ravel().tolist() for r in square if math.isqrt(r.size) ** 2 == r.size]
    return {"label": label, "shape": list(values.shape), "sums": sums(values), "maps": maps}
