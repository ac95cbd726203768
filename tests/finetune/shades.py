"""Photos of coloured noise in a folder for each class, which a network of mean colours can tell apart."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

SHADES = {"brick": (200, 60, 40), "grass": (60, 190, 50), "sky": (70, 110, 220)}


def shade(colour: tuple[int, int, int], seed: int, size: int = 24, noise: int = 60) -> Image.Image:
    """Noise around a colour; no two seeds look alike."""
    rng = np.random.default_rng([seed, *colour])
    coarse = rng.integers(-noise, noise + 1, (4, 4, 3)) + np.array(colour)
    return Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8)).resize(
        (size, size), Image.Resampling.BICUBIC
    )


def folder_of(root: Path, count: int = 20, shades: Mapping[str, tuple[int, int, int]] = SHADES) -> Path:
    """A folder with a folder of JPEGs for each class."""
    for name, colour in shades.items():
        place = root / name
        place.mkdir(parents=True)
        for i in range(count):
            shade(colour, i).save(place / f"{i:03}.jpg", quality=95)
    return root


def list_of_numbers(root: Path, count: int = 60) -> Path:
    """A CSV whose values are how red the images are, in percent."""
    root.mkdir()
    with (root / "values.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "value"))
        for i in range(count):
            red = 255 * i // count
            shade((red, 120, 120), i, noise=20).save(root / f"{i:03}.png")
            writer.writerow((f"{i:03}.png", 100 * red / 255))
    return root / "values.csv"


def list_of_labels(root: Path, count: int = 64) -> Path:
    """A CSV that tells of each image which of the colours are strong in it: none, some or all."""
    root.mkdir()
    with (root / "labels.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "labels"))
        for i in range(count):
            strong = [bool(i >> bit & 1) for bit in range(3)]
            red, green, blue = (200 if one else 50 for one in strong)
            shade((red, green, blue), i, noise=30).save(root / f"{i:03}.png")
            names = [name for name, one in zip(("red", "green", "blue"), strong, strict=True) if one]
            writer.writerow((f"{i:03}.png", ";".join(names)))
    return root / "labels.csv"
