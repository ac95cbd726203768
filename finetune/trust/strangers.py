"""Images that are none of anybody's classes, which a finished model should refuse: rendered ones, and photos at hand.

Rendered images are the same on every machine: nothing is read, and all that is random comes from an image's number.
"""

from __future__ import annotations

import importlib.util
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from feature_extraction.items import ImageItem, file_item

SIDE = 224  # pixels
OF_A_KIND = 6
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_INK, _PAPER = 30, 250  # grey values of printed pages
_NAMES = {"sklearn": "scikit-learn", "skimage": "scikit-image"}
_PHOTOS = (("sklearn", "datasets/images"), ("skimage", "data"))

Pixels = NDArray[np.uint8]  # (H, W, 3)
Dice = np.random.Generator


@dataclass(frozen=True)
class Stranger:
    """An image that is none of the classes, and what kind of image it is, in the plural."""

    kind: str
    item: ImageItem


def rendered(series: int = 0) -> list[Stranger]:
    """`OF_A_KIND` images of each kind; another series has others of the same kinds."""
    return [
        Stranger(kind, ImageItem(f"{kind} {number + 1}", partial(_encoded, kind, series, number)))
        for kind in KINDS
        for number in range(OF_A_KIND)
    ]


def photos_at_hand() -> list[Stranger]:
    """The photos that scikit-learn and scikit-image bring along, of those that are installed; nothing is imported."""
    strangers = []
    for package, folder in _PHOTOS:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            continue
        files = sorted(Path(spec.origin).parent.joinpath(folder).glob("*"))
        strangers += [
            Stranger(f"photos of {_NAMES[package]}", file_item(str(file), f"{package}/{file.name}"))
            for file in files
            if file.suffix in (".jpg", ".png")
        ]
    return strangers


def _encoded(kind: str, series: int, number: int) -> bytes:
    """An image of a kind as a file, without the time that compressing it takes."""
    dice = np.random.default_rng((series, list(KINDS).index(kind), number))
    stream = io.BytesIO()
    Image.fromarray(KINDS[kind](dice, number)).save(stream, "BMP")
    return stream.getvalue()


def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates (SIDE, SIDE), 0 to 1: down and across."""
    line = (np.arange(SIDE) + 0.5) / SIDE
    y, x = np.meshgrid(line, line, indexing="ij")
    return y, x


def _colour(dice: Dice) -> NDArray[np.float64]:
    return np.asarray(dice.uniform(0, 255, 3))


def _mixed(share: NDArray[np.float64], dice: Dice) -> Pixels:
    """Two colours, mixed by (SIDE, SIDE) shares."""
    a, b = _colour(dice), _colour(dice)
    return np.round(a + np.clip(share, 0, 1)[..., None] * (b - a)).astype(np.uint8)


def _plain(dice: Dice, number: int) -> Pixels:
    """Black, white, grey, and colours."""
    colours = [np.zeros(3), np.full(3, 255.0), np.full(3, 128.0)]
    colour = colours[number] if number < len(colours) else _colour(dice)
    return np.broadcast_to(np.round(colour).astype(np.uint8), (SIDE, SIDE, 3)).copy()


def _gradient(dice: Dice, number: int) -> Pixels:
    """From one colour to another, along a line or from a point."""
    y, x = _grid()
    if number % 2:
        centre = dice.uniform(0.2, 0.8, 2)
        return _mixed(np.hypot(y - centre[0], x - centre[1]) / dice.uniform(0.5, 1.0), dice)
    angle = dice.uniform(0, 2 * math.pi)
    return _mixed(0.5 + (x - 0.5) * math.cos(angle) + (y - 0.5) * math.sin(angle), dice)


def _noise(dice: Dice, number: int) -> Pixels:
    """Of single pixels, or of patches; in colours or grey; all values alike, around grey, or black and white."""
    patch, channels = (1, 4, 16)[number % 3], (3, 1)[number // 3 % 2]
    cells = -(-SIDE // patch)
    way = int(dice.integers(3))
    values = dice.random((cells, cells, channels))
    if way == 1:
        values = 0.5 + 0.2 * dice.standard_normal((cells, cells, channels))
    if way == 2:
        values = np.round(values)
    large = values.repeat(patch, 0).repeat(patch, 1)[:SIDE, :SIDE]
    return np.broadcast_to(np.round(255 * np.clip(large, 0, 1)).astype(np.uint8), (SIDE, SIDE, 3)).copy()


def _pattern(dice: Dice, number: int) -> Pixels:
    """Stripes, checks, dots, rings, bricks and waves."""
    y, x = _grid()
    count = int(dice.integers(4, 16))
    angle, way = dice.uniform(0, math.pi), number % 6
    if way == 0:
        share = np.floor(2 * count * (x * math.cos(angle) + y * math.sin(angle))) % 2
    elif way == 1:
        share = (np.floor(count * x) + np.floor(count * y)) % 2
    elif way == 2:
        share = (np.hypot(count * x % 1 - 0.5, count * y % 1 - 0.5) < 0.3).astype(np.float64)
    elif way == 3:
        share = np.floor(2 * count * np.hypot(x - 0.5, y - 0.5)) % 2
    elif way == 4:
        joint = (count * x / 2 + np.floor(count * y) / 2) % 1 < 0.06
        share = (((count * y) % 1 < 0.12) | joint).astype(np.float64)
    else:
        share = 0.5 + 0.5 * np.sin(2 * math.pi * count * (y + 0.04 * np.sin(6 * math.pi * x)))
    return _mixed(share, dice)


def _texture(dice: Dice, number: int) -> Pixels:
    """Clouds, marble, cells and grain."""
    y, x = _grid()
    rough = _clouds(dice)
    if number % 4 == 1:
        return _mixed(0.5 + 0.5 * np.sin(2 * math.pi * (5 * x + 4 * rough)), dice)
    if number % 4 == 2:
        points = dice.random((60, 2))
        apart = np.sort((y[..., None] - points[:, 0]) ** 2 + (x[..., None] - points[:, 1]) ** 2, axis=2)
        return _mixed(6 * (np.sqrt(apart[..., 1]) - np.sqrt(apart[..., 0])), dice)
    if number % 4 == 3:
        rings = np.hypot(x - 1.5, 0.15 * (y - 0.5)) + 0.08 * rough
        return _mixed((20 * rings) % 1, dice)
    return _mixed(rough, dice)


def _clouds(dice: Dice) -> NDArray[np.float64]:
    """Noise whose patches are of all sizes, (SIDE, SIDE), 0 to 1."""
    total = np.zeros((SIDE, SIDE))
    for step in range(1, 7):
        cells = Image.fromarray(dice.random((2**step + 1, 2**step + 1)).astype(np.float32))
        total += np.asarray(cells.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float64) / 2**step
    return np.asarray((total - total.min()) / (total.max() - total.min()))


def _word(dice: Dice) -> str:
    return "".join(_LETTERS[i] for i in dice.integers(0, len(_LETTERS), dice.integers(2, 10)))


def _written(lines: list[str], height: int, ink: int, paper: int) -> Image.Image:
    """Lines of print, each `height` pixels high, in grey."""
    font = ImageFont.load_default_imagefont()
    small = Image.new("L", (max(int(font.getlength(line)) for line in lines), 12 * len(lines)), paper)
    draw = ImageDraw.Draw(small)
    for row, line in enumerate(lines):
        draw.text((0, 12 * row), line, fill=ink, font=font)
    scale = height / 12
    size = max(1, round(small.width * scale)), max(1, round(small.height * scale))
    return small.resize(size, Image.Resampling.BICUBIC)


def _text(dice: Dice, number: int) -> Pixels:
    """Some words, large, dark on light or light on dark."""
    words = [_word(dice).capitalize() for _ in range(int(dice.integers(1, 5)))]
    ink, paper = (_INK, 240) if number % 2 == 0 else (250, 20)
    page = Image.new("L", (SIDE, SIDE), paper)
    page.paste(
        _written(words, int(dice.integers(24, 60)), ink, paper),
        (int(dice.integers(0, 30)), int(dice.integers(0, 60))),
    )
    colour = dice.uniform(180, 255, 3) if number % 3 else np.full(3, 255.0)
    return np.round(np.asarray(page, np.float64)[..., None] / 255 * colour).astype(np.uint8)


def _document(dice: Dice, number: int) -> Pixels:
    """A page: a heading, paragraphs, and a table, a picture's frame or a curve; some lie askew on a desk."""
    page = Image.new("L", (2 * SIDE, 2 * SIDE), _PAPER)
    draw = ImageDraw.Draw(page)
    page.paste(_written([" ".join(_word(dice) for _ in range(3)).title()], 26, _INK, _PAPER), (40, 24))
    for block in range(int(dice.integers(2, 4))):
        lines = [" ".join(_word(dice) for _ in range(9))[:52] for _ in range(6)]
        page.paste(_written(lines, 14, _INK, _PAPER), (40, 66 + 100 * block))
    top = 66 + 100 * int(dice.integers(2, 4)) - (0 if number % 3 else 40)
    if number % 3 == 0:
        for line in range(6):
            draw.line((40, top + 18 * line, 400, top + 18 * line), fill=_INK)
            draw.line((40 + 72 * line, top, 40 + 72 * line, top + 90), fill=_INK)
    if number % 3 == 1:
        draw.rectangle((60, top, 360, top + 90), outline=_INK, fill=200)
    if number % 3 == 2:
        heights = top + 45 + 40 * np.sin(np.linspace(0, dice.uniform(4, 15), 80))
        draw.line([(60 + 4 * i, float(value)) for i, value in enumerate(heights)], fill=_INK, width=2)
    if number % 2:
        desk = int(dice.integers(60, 160))
        page = page.rotate(float(dice.uniform(-12, 12)), Image.Resampling.BICUBIC, fillcolor=desk)
    return np.asarray(page.resize((SIDE, SIDE), Image.Resampling.BOX).convert("RGB"))


KINDS: dict[str, Callable[[Dice, int], Pixels]] = {
    "plain colours": _plain,
    "gradients": _gradient,
    "noise": _noise,
    "patterns": _pattern,
    "textures": _texture,
    "text": _text,
    "documents": _document,
}
