"""Blur, darkness and odd sizes of photos that can be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from finetune.dataset.inspection import inspect
from finetune.dataset.inspection_json import as_json
from finetune.dataset.inspection_page import page
from finetune.dataset.opening import open_dataset
from finetune.dataset.quality import BLURRED, blur_effect
from tests.finetune.dataset.samples import classes, write
from tests.fixtures import encoded, photo

SIZE = (320, 240)


def picture() -> Image.Image:
    """Noise and edges, as photos have them."""
    pixels = np.asarray(photo(SIZE, 7)).astype(int) + np.random.default_rng(7).integers(
        -40, 41, (240, 320, 1)
    )
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("image", "defect"),
    [
        (picture().filter(ImageFilter.GaussianBlur(4)), "blurred"),
        (picture().point(lambda value: value // 8), "dark"),
        (Image.new("RGB", SIZE, (90, 120, 200)), "one colour"),
        (picture().resize((40, 30)), "small"),
        (picture().resize((1600, 240)), "long"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_flaw_is_a_finding_of_the_inspection(tmp_path: Path, image: Image.Image, defect: str) -> None:
    sharp = {f"{label}/{i}.png": encoded(picture().rotate(90 * i)) for label in "ab" for i in range(3)}
    inspection = inspect(open_dataset(write(tmp_path, {**sharp, "a/odd.png": encoded(image)})), None)
    names = {inspection.dataset.examples[flaw.index].key: flaw.defect for flaw in inspection.flaws}
    assert names == {"a/odd.png": defect}
    assert [one["flaw"] for one in as_json(inspection)["flaws"]] == [defect]
    assert f"{defect}: " in page(inspection)


def test_letters_of_28_pixels_have_no_flaw(tmp_path: Path) -> None:
    root = classes(tmp_path / "letters")
    letter = np.zeros((28, 28), np.uint8)
    letter[4:24, 12:16] = 255
    write(
        root,
        {
            f"{label}/{i}.png": encoded(Image.fromarray(np.roll(letter, i)))
            for label in "ab"
            for i in range(3)
        },
    )
    assert inspect(open_dataset(root), None).flaws == []


def test_blur_grows_with_the_width_of_the_filter() -> None:
    blurs = [
        blur_effect(np.asarray(picture().filter(ImageFilter.GaussianBlur(radius)).convert("L"), np.float32))
        for radius in (0, 0.5, 1, 2, 3)
    ]
    assert blurs == sorted(blurs)
    assert blurs[0] < BLURRED < blurs[-1] <= 1
