"""Where on a photo lies what a network sees: the way back from its input to the photo's pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.preprocessing import MAX_SIDE, ImageSource, Preprocessing

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels of the photo
Floats = NDArray[np.float32]


def full_photo(image: ImageSource, name: str | None = None) -> Image.Image:
    """The photo, upright and RGB, with all its pixels: `explain` fits its maps to this size.

    Raises:
        ImageError: not an image that can be read.
    """
    # No decoder leaves out pixels for an input as large as this.
    return Preprocessing((MAX_SIDE, MAX_SIDE)).upright(image, name=name)


def visible_box(preprocessing: Preprocessing, size: tuple[int, int]) -> Box:
    """The part of an upright photo of `size` (width, height) that the network gets to see.

    Preprocessing may keep a central part, scale it, and crop the centre of that: this is the way back. Where it pads,
    the box is larger than the photo.
    """
    width, height = size
    left = top = 0.0
    if preprocessing.crop_fraction < 1:
        kept = [max(1, int(side * preprocessing.crop_fraction)) for side in size]
        left, top = float((width - kept[0]) // 2), float((height - kept[1]) // 2)
        width, height = kept
    rows, columns = preprocessing.size
    if preprocessing.resize == "squash":
        return left, top, left + width, top + height
    if preprocessing.resize == "pad":
        factor = min(rows / height, columns / width)
        whole_w, whole_h = max(1, round(width * factor)), max(1, round(height * factor))
        across, down = width / whole_w, height / whole_h
        x, y = (columns - whole_w) // 2, (rows - whole_h) // 2
        return left - x * across, top - y * down, left + (columns - x) * across, top + (rows - y) * down
    scale = (preprocessing.resize_to or max(rows, columns)) / min(width, height)
    whole_w, whole_h = max(int(scale * width + 1e-9), 1), max(int(scale * height + 1e-9), 1)
    x, y = round((whole_w - columns) / 2.0), round((whole_h - rows) / 2.0)
    across, down = width / whole_w, height / whole_h
    return left + x * across, top + y * down, left + (x + columns) * across, top + (y + rows) * down


def smooth(heat: Floats, size: tuple[int, int]) -> Floats:
    """A map (H, W) at `size` (height, width), smooth between its places: bicubic curves, which swing over."""
    image = Image.fromarray(np.ascontiguousarray(heat, np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC), np.float32)


def resized(heat: Floats, size: tuple[int, int]) -> Floats:
    """A map (H, W) at `size` (height, width), smooth between its places, within 0 and 1."""
    return np.clip(smooth(heat, size), 0.0, 1.0)


def on_photo(network: Floats, box: Box, size: tuple[int, int]) -> Floats:
    """A map of the network's input where it belongs on a photo of `size` (width, height): (height, width)."""
    width, height = size
    seen, box = _inside(network, box, size)
    left, top, right, bottom = (round(edge) for edge in box)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    heat = np.zeros((height, width), np.float32)
    shape = max(bottom - top, 1), max(right - left, 1)
    heat[top : top + shape[0], left : left + shape[1]] = resized(seen, shape)
    return heat


def peak_on_photo(network: Floats, box: Box, size: tuple[int, int]) -> tuple[int, int] | None:
    """Where on a photo of `size` (width, height) a map of the network's input is largest, (x, y).

    Of places that are equally large the one nearest to their middle; None where the map is empty.
    """
    seen, (left, top, right, bottom) = _inside(network, box, size)
    largest = float(seen.max())
    if largest <= 0:
        return None
    rows, columns = np.nonzero(seen == largest)
    middle = int(np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2))
    x = left + (int(columns[middle]) + 0.5) / seen.shape[1] * (right - left)
    y = top + (int(rows[middle]) + 0.5) / seen.shape[0] * (bottom - top)
    return int(x), int(y)


def _inside(network: Floats, box: Box, size: tuple[int, int]) -> tuple[Floats, Box]:
    """What of a map lies on the photo, and its box: the rest is padding."""
    (left, top, right, bottom), (width, height), (rows, columns) = box, size, network.shape
    across, down = columns / (right - left), rows / (bottom - top)
    x, y = max(0, round(-left * across)), max(0, round(-top * down))
    end_x = columns - max(0, round((right - width) * across))
    end_y = rows - max(0, round((bottom - height) * down))
    kept = network[y : max(end_y, y + 1), x : max(end_x, x + 1)]
    return kept, (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
