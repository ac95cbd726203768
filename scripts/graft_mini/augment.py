"""From stored 64-pixel images to normalised training and validation batches, on the device of the images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from scripts.graft_mini import MEAN, STD

PAD, SIDE = 8, 64


def augment(images: Tensor, flip: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """Random crop, flip, enlargement and colour of (N, 64, 64, 3) uint8 to (N, 3, size, size), normalised.

    `flip` (N,) says which images are mirrored. The crop's side is drawn once a batch (48 to 72 px of the reflected
    80), its place once an image. The kind of interpolation varies too: photos that are reduced to the input size are
    sharper than enlarged ones.
    """
    n, side, device = len(images), int(rng.integers(48, 73)), images.device
    top, left = torch.from_numpy(rng.integers(-PAD, SIDE + PAD - side + 1, (2, n))).to(device)
    steps = torch.arange(side, device=device)
    rows, columns = _reflected(top[:, None] + steps), _reflected(left[:, None] + steps)
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    each = torch.arange(n, device=device)[:, None, None]
    crops = images[each, rows[:, :, None], columns[:, None, :]]  # (N, side, side, 3)
    mode = str(rng.choice(["bicubic", "bilinear", "nearest-exact"], p=[0.5, 0.3, 0.2]))
    x = _resize(crops, size, mode)
    factors = torch.from_numpy(rng.uniform(0.75, 1.25, (2, n, 1, 1, 1)).astype(np.float32))
    gain, contrast = factors.to(device)
    middle = x.mean((1, 2, 3), keepdim=True)
    return _normalize((x - middle) * contrast + middle * gain)


def enlarge(images: Tensor, size: int) -> Tensor:
    """(N, 64, 64, 3) uint8 to (N, 3, size, size), bicubic, normalised."""
    return _normalize(_resize(images, size, "bicubic"))


def _reflected(index: Tensor) -> Tensor:
    """Rows beyond an edge as its mirror image, the edge itself once."""
    index = index.abs()
    return torch.minimum(index, 2 * (SIDE - 1) - index)


def _resize(images: Tensor, size: int, mode: str) -> Tensor:
    x = images.permute(0, 3, 1, 2).contiguous().float().div_(255)
    corners = None if mode == "nearest-exact" else False
    return functional.interpolate(x, size=(size, size), mode=mode, align_corners=corners).clamp_(0, 1)


def _normalize(x: Tensor) -> Tensor:
    mean, std = (torch.tensor(values, device=x.device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)
