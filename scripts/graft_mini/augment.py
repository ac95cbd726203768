"""From stored 64-pixel images to normalised training and validation batches."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scripts.graft_mini import MEAN, STD

PAD, SIDE = 8, 64


def augment(images: NDArray[np.uint8], size: int, rng: np.random.Generator) -> Tensor:
    """Random crop, flip, enlargement and colour of (N, 64, 64, 3) to (N, 3, size, size), normalised.

    The crop's side is drawn once a batch (48 to 72 px of the padded 80), its place once an image. The kind of
    interpolation varies too: photos that are reduced to the input size are sharper than enlarged ones.
    """
    n, side = len(images), int(rng.integers(48, 73))
    padded = np.pad(images, ((0, 0), (PAD, PAD), (PAD, PAD), (0, 0)), mode="reflect")
    top, left = rng.integers(0, SIDE + 2 * PAD - side + 1, (2, n))
    rows = top[:, None] + np.arange(side)
    columns = left[:, None] + np.arange(side)
    flip = rng.random(n) < 0.5
    columns[flip] = columns[flip, ::-1]
    crops = padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]  # (N, side, side, 3)
    mode = str(rng.choice(["bicubic", "bilinear", "nearest-exact"], p=[0.5, 0.3, 0.2]))
    x = _resize(crops, size, mode)
    gain, contrast = torch.from_numpy(rng.uniform(0.75, 1.25, (2, n, 1, 1, 1)).astype(np.float32))
    middle = x.mean((1, 2, 3), keepdim=True)
    return _normalize((x - middle) * contrast + middle * gain)


def enlarge(images: NDArray[np.uint8], size: int) -> Tensor:
    """(N, 64, 64, 3) to (N, 3, size, size), bicubic, normalised."""
    return _normalize(_resize(np.ascontiguousarray(images), size, "bicubic"))


def _resize(images: NDArray[np.uint8], size: int, mode: str) -> Tensor:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float().div_(255)
    corners = None if mode == "nearest-exact" else False
    return functional.interpolate(x, size=(size, size), mode=mode, align_corners=corners).clamp_(0, 1)


def _normalize(x: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)
