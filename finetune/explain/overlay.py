"""Draws a heat map over its photo."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from finetune.explain.heatmap import Heatmap
from models.preprocessing import LUMA

_COLOURS = "inferno"  # perceptually uniform: equal steps of heat look like equal steps
_STRONGEST = 0.72  # share of colour where the heat is 1
_OUTSIDE = 0.5  # brightness of what the network does not get to see
_LEGEND_FROM = 120  # pixels of the shorter side: on smaller photos a legend would hide the photo


def overlay(photo: Image.Image, heat: Heatmap) -> Image.Image:
    """`photo` (RGB, upright) with `heat` on it, at the photo's size; darker where the network does not see it."""
    import matplotlib

    table = np.asarray(matplotlib.colormaps[_COLOURS](np.linspace(0, 1, 256)))[:, :3]  # (256, RGB)
    pixels = np.asarray(photo, np.float32) / 255.0  # (H, W, 3)
    grey = pixels @ np.array(LUMA, np.float32)
    warmth = heat.photo[..., None]
    # Colour of the photo would be mistaken for heat, so most of it goes where heat lies.
    base = pixels + (grey[..., None] - pixels) * 0.75
    share = _STRONGEST * warmth**0.7
    mixed = base * (1 - share) + table[np.rint(255 * heat.photo).astype(np.int64)] * share
    outside = np.ones(heat.photo.shape, bool)
    left, top, right, bottom = (max(0, round(edge)) for edge in heat.box)
    outside[top:bottom, left:right] = False
    mixed[outside] *= _OUTSIDE
    image = Image.fromarray(np.rint(255 * np.clip(mixed, 0, 1)).astype(np.uint8))
    if min(image.size) >= _LEGEND_FROM:
        _legend(image, heat, np.rint(255 * table).astype(np.uint8))
    return image


def png(image: Image.Image) -> bytes:
    """The bytes of a PNG file; the same for the same pixels."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _legend(image: Image.Image, heat: Heatmap, table: np.ndarray) -> None:
    """Class, probability and the scale of colours in the lower left corner."""
    import matplotlib

    size = max(11, round(min(image.size) / 26))
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    font = ImageFont.truetype(str(path), size)
    name = " ".join(heat.label.name.split(",")[0].split()) or heat.label.id
    figure = f"{heat.probability:.1%}" if heat.probability is not None else f"{heat.value:.4g}"
    draw = ImageDraw.Draw(image, "RGBA")
    shown, room = name, image.width - 4 * size
    for end in range(len(name) - 1, 0, -1):
        if draw.textlength(f"{shown}  {figure}", font) <= room:
            break
        shown = f"{name[:end].rstrip()}…"
    text = f"{shown}  {figure}"
    pad, bar = round(0.7 * size), max(4, size // 3)
    width = max(round(draw.textlength(text, font)), 8 * size)
    left, bottom = pad, image.height - pad
    top = bottom - 2 * pad - round(1.3 * size) - bar - pad // 2
    draw.rounded_rectangle((left, top, left + width + 2 * pad, bottom), size // 2, fill=(0, 0, 0, 165))
    draw.text((left + pad, top + pad), text, font=font, fill=(255, 255, 255, 255))
    scale = Image.fromarray(table[None]).resize((width, bar), Image.Resampling.BILINEAR)
    image.paste(scale, (left + pad, bottom - pad - bar))
