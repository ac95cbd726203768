"""Changed copies of an image, from which a network learns what does not matter: where it lies, how large, how bright.

They are made of the decoded photo, before the model's own resizing. What is drawn depends on the seed, the image and
the number of the view alone, so that every run sees the same, in whatever order.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageStat

from models.preprocessing import LUMA

AREA = (0.6, 1.0)  # part of the image that is kept
STRETCH = 4 / 3  # how much wider, or higher, than the image the part may be
BRIGHTNESS = CONTRAST = SATURATION = 0.2  # factors are from 1 - this to 1 + this
_RECIPE = "crop, flip, colours, 1"  # a change of what is drawn, or of how, is a change of this


@dataclass(frozen=True)
class View:
    """A changed copy of each image; number 0 is the image as it is.

    Others show 60 to 100 % of it, with `flip` half of them mirrored, and slightly other colours.
    """

    seed: int
    number: int
    flip: bool = True

    def digest(self, image: bytes) -> bytes:
        """What the view is known by in caches, 32 bytes; number 0 has the digest of the image itself."""
        return image if self.number == 0 else self._hash(f"view {self.flip}", image)

    def apply(self, image: Image.Image, digest: bytes) -> Image.Image:
        """The view of an image that is upright and RGB; `digest` is that of its file."""
        if self.number == 0:
            return image
        draws = np.frombuffer(self._hash("draws", digest), ">u4") / 2.0**32  # 8 numbers from 0 to below 1
        area, stretch, left, top, mirrored, brightness, contrast, saturation = draws.tolist()
        image = image.crop(_box(image.size, area, stretch, left, top))
        if self.flip and mirrored < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return _recoloured(
            image,
            1 + BRIGHTNESS * (2 * brightness - 1),
            1 + CONTRAST * (2 * contrast - 1),
            1 + SATURATION * (2 * saturation - 1),
        )

    def _hash(self, use: str, image: bytes) -> bytes:
        text = f"{_RECIPE} {use} {self.seed} {self.number} "
        return hashlib.sha256(text.encode() + image).digest()


def views(count: int, seed: int, *, flip: bool = True) -> tuple[View, ...]:
    """The image as it is and `count` - 1 changed copies."""
    return tuple(View(seed, number, flip) for number in range(count))


def _box(
    size: tuple[int, int], area: float, stretch: float, left: float, top: float
) -> tuple[int, int, int, int]:
    """A part of an image of (width, height), as Pillow's (left, top, right, bottom), from numbers between 0 and 1.

    Random resized cropping (Szegedy et al. 2015, "Going deeper with convolutions"), with the proportions counted
    from those of the image: resizing makes the input's of them.
    """
    part = AREA[0] + (AREA[1] - AREA[0]) * area
    wider = math.exp(math.log(STRETCH) * (2 * stretch - 1))  # as often wider as higher
    width, height = (
        max(1, round(side * min(1.0, math.sqrt(share))))
        for side, share in zip(size, (part * wider, part / wider), strict=True)
    )
    x, y = round(left * (size[0] - width)), round(top * (size[1] - height))
    return x, y, x + width, y + height


def _recoloured(image: Image.Image, brightness: float, contrast: float, saturation: float) -> Image.Image:
    """Multiply by `brightness`, then distances from the mean grey by `contrast`, then those from grey by `saturation`.

    All three are linear: one matrix of 3 x 4 does them in one pass.
    """
    mean = brightness * sum(
        weight * value for weight, value in zip(LUMA, ImageStat.Stat(image).mean, strict=True)
    )
    scale = brightness * contrast
    grey = np.tile(LUMA, (3, 1))  # each row makes grey of R, G, B
    matrix = scale * (saturation * np.eye(3) + (1 - saturation) * grey)
    shift = np.full((3, 1), (1 - contrast) * mean)  # grey, which saturation leaves alone
    return image.convert("RGB", tuple(np.hstack([matrix, shift]).ravel().tolist()))
