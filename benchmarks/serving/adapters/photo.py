"""What all adapters do with a photo before the network."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def prepared(data: bytes, width: int, height: int) -> np.ndarray:
    """Shorter side to 8/7 of the crop, centre crop; with the JPEG decoder's own reduction, as Graft has it."""
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (2 * width, 2 * height))
    image = image.convert("RGB")
    short = round(max(width, height) / 0.875)
    scale = short / min(image.size)
    image = image.resize(
        (max(width, round(image.width * scale)), max(height, round(image.height * scale))), 2
    )
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return np.asarray(image.crop((left, top, left + width, top + height)))
