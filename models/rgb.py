"""From every mode that an image may have to upright RGB of 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from PIL import Image, ImageOps

_DEPTHS = (8, 12, 16, 24, 31)  # bits that the values of one image may be meant to have; of 32 one is the sign


def upright_rgb(image: Image.Image) -> Image.Image:
    """An image turned upright, in RGB; see `to_rgb`.

    Raises:
        ValueError: as `to_rgb`, and colours of 16 bits that use the lowest 12 alone.
    """
    sixteen_bits = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    rgb = to_rgb(ImageOps.exif_transpose(image))
    # Pillow gives the upper 8 of 16 bits of a colour. Grey values come whole, and were scaled.
    if sixteen_bits and not image.mode.startswith("I") and max(most for _, most in _extrema(rgb)) < 16:
        raise ValueError(
            "its colours of 16 bits are black or hold 12 bits or fewer, and which cannot be told; save it with 8 bits"
        )
    return rgb


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: transparency lies on white, 16 and 32 bits become 8, CMYK is converted.

    Whole numbers are scaled by the bits that they need, 8, 12, 16, 24 or 31: cameras of 12 bits write files of 16.

    Raises:
        ValueError: floating-point or negative pixels, whose range nobody declares.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):  # I;16 and its byte orders, or I, of 32 bits with a sign
        return _whole_numbers(image)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range; save it with 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _whole_numbers(image: Image.Image) -> Image.Image:
    """Grey values of more than 8 bits, scaled by the bits that the largest of them needs."""
    pixels = np.asarray(image).astype(np.int64)
    least, most = int(pixels.min(initial=0)), int(pixels.max(initial=0))
    if least < 0:
        raise ValueError(
            f"its pixels are numbers from {least:,} to {most:,}, of unknown range; save it with 8 or 16 bits"
        )
    depth = next(bits for bits in _DEPTHS if most < 1 << bits)
    return Image.fromarray((pixels >> (depth - 8)).astype(np.uint8)).convert("RGB")


def _extrema(rgb: Image.Image) -> Sequence[tuple[int, int]]:
    """The least and the greatest value of each channel."""
    return cast("Sequence[tuple[int, int]]", rgb.getextrema())
