"""Plots: where things stand on them, and that they stand on something whatever the numbers are."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable

import numpy as np
import pytest

from finetune.report.drawing import BLUE, Axes, draw
from finetune.report.scales import Scale, limits, ticks, written

SVG = "{http://www.w3.org/2000/svg}"


def drawn(paint: Callable[[Axes], None]) -> ET.Element:
    return ET.fromstring(draw("one", "What it shows.", paint))


def texts(svg: ET.Element) -> list[str]:
    return [text.text or "" for text in svg.iter(f"{SVG}text")]


def test_a_line_goes_through_its_points() -> None:
    svg = drawn(lambda axes: axes.plot([0, 1, 2], [5, 7, 5], color=BLUE))
    (area,) = svg.findall(f"{SVG}g")
    (path,) = area
    places = [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+) ([\d.]+)", path.get("d", ""))]
    (ax, ay), (bx, by), (cx, cy) = places
    assert bx - ax == pytest.approx(cx - bx, abs=0.11)
    assert ay == cy > by  # upwards is less


def test_nan_is_a_gap() -> None:
    svg = drawn(lambda axes: axes.plot([0, 1, 2, 3], [5, np.nan, 5, 6], color=BLUE))
    path = next(svg.iter(f"{SVG}g"))[0].get("d", "")
    assert [path.count("M"), path.count("L")] == [2, 1]
    assert "nan" not in path


def test_labels_and_words() -> None:
    def paint(axes: Axes) -> None:
        axes.plot([1, 2], [1, 2], color=BLUE, label="a < b")
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss & more")
        axes.set_xticks(whole=True)

    svg = drawn(paint)
    assert {"a < b", "epoch", "loss & more", "1", "2"} <= set(texts(svg))
    assert svg.get("aria-label") == "What it shows."
    assert "1.5" in texts(svg)[:6]  # of y; of x only whole numbers
    assert texts(svg).count("1.5") == 1


def test_names_that_do_not_fit_beside_each_other_take_another_line() -> None:
    def paint(axes: Axes) -> None:
        for number in range(4):
            axes.plot([1, 2], [1, 2], color=BLUE, label=f"a name of some length, {number}")

    heights = {text.get("y") for text in drawn(paint).iter(f"{SVG}text") if "name" in (text.text or "")}
    assert len(heights) == 4 / 2


@pytest.mark.parametrize(
    "values",
    [[np.nan, np.nan], [3.0, 3.0], [0.0, 0.0], [1e-300, 1e300], [-1e9, 1e9]],
    ids=["none", "equal", "zeros", "far apart", "large"],
)
@pytest.mark.parametrize("kind", ["linear", "log"])
def test_whatever_the_numbers_are(values: list[float], kind: str) -> None:
    def paint(axes: Axes) -> None:
        axes.plot(values, values, color=BLUE)
        axes.set_xscale(kind)  # type: ignore[arg-type]

    svg = draw("one", "", paint)
    ET.fromstring(svg)
    assert not re.search(r"\b(nan|inf)\b", svg)


def test_bars_stand_on_zero() -> None:
    svg = drawn(lambda axes: axes.bar([0, 1], [2.0, 4.0], 0.9, color=BLUE))
    group = next(svg.iter(f"{SVG}g"))[0]
    small, large = ([float(bar.get(name, "")) for name in ("y", "height")] for bar in group)
    assert sum(small) == pytest.approx(sum(large), abs=0.11)  # the same floor
    assert large[1] == pytest.approx(2 * small[1], abs=0.11)


@pytest.mark.parametrize(
    ("ends", "options", "numbers"),
    [
        ((0, 1), {}, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ((-0.3, 0.31), {}, [-0.2, 0, 0.2]),
        ((0.9, 3.1), {"whole": True}, [1, 2, 3]),
        ((1e-5, 1), {"log": True}, [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1]),
        ((1e-9, 10), {"log": True}, [1e-9, 1e-7, 1e-5, 1e-3, 1e-1, 10]),
    ],
)
def test_numbers_beside_an_axis_are_round(
    ends: tuple[float, float], options: dict[str, bool], numbers: list[float]
) -> None:
    most = 4 if ends == (-0.3, 0.31) else 6
    assert ticks(*ends, most, **options) == pytest.approx(numbers)


def test_numbers_are_told_apart() -> None:
    assert written([1000, 1000.5, 1001]) == ["1000", "1000.5", "1001"]
    assert written([1e-5, 0.1, 1000, 20000]) == ["1e\N{MINUS SIGN}5", "0.1", "1000", "20000"]
    assert written([-0.5, 0.0]) == ["\N{MINUS SIGN}0.5", "0"]


def test_scales_meet_their_ends() -> None:
    scale = Scale(10, 1000, 0, 100, log=True)
    np.testing.assert_allclose(scale.place(np.array([10, 100, 1000])), [0, 50, 100])
    assert limits(np.array([2.0, 4.0]), False, None, 10) == (pytest.approx(1.9), 10)
    assert limits(np.array([2.0, 4.0]), False, None, None, from_zero=True)[0] == 0


def test_a_report_needs_no_matplotlib() -> None:
    program = "import finetune.report.page, sys; assert 'matplotlib' not in sys.modules"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
