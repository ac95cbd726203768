from __future__ import annotations

import re
from pathlib import Path

import pytest

import finetune.pages

CSS = (Path(finetune.pages.__file__).parent / "style.css").read_text(encoding="utf-8")
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in CSS.split("@media screen", 1)
)


def luminance(colour: str) -> float:
    """Relative luminance. Source: WCAG 2.2, "relative luminance"."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mixed(colour: str, ground: str, share: float) -> str:
    pairs = [(int(colour[i : i + 2], 16), int(ground[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)


def test_contrast_of_black_on_white() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_lines_are_read(scheme: dict[str, str]) -> None:
    for ground in ("ground", "raised"):
        for text in ("ink", "soft", "link", "good", "warn"):
            assert contrast(scheme[text], scheme[ground]) >= 4.5, (text, ground)
        for line in ("blue", "orange", "green", "purple"):
            assert contrast(scheme[line], scheme[ground]) >= 3, (line, ground)
    assert contrast(scheme["ink"], scheme["warn-ground"]) >= 4.5


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("colour", ["blue", "orange"])
def test_numbers_are_read_on_the_darkest_cell(scheme: dict[str, str], colour: str) -> None:
    from finetune.report.matrix import DARKEST

    cell = mixed(scheme[colour], scheme["ground"], DARKEST / 100)
    assert contrast(scheme["ink"], cell) >= 4.5


def test_both_schemes_define_the_same_colours() -> None:
    assert set(LIGHT) == set(DARK)


def test_plots_know_the_colours_of_the_page() -> None:
    from finetune.report import drawing

    named = re.compile(r"var\(--(\w+), (#\w+)\)")
    colours = [match.groups() for value in vars(drawing).values() if (match := named.fullmatch(str(value)))]
    assert len(colours) == 7
    for name, colour in colours:
        assert colour == LIGHT[name] or name == "ground"
