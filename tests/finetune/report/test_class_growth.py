from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from finetune.report.class_growth import class_growths
from finetune.report.classification import ClassMeasure
from finetune.report.page import write_report
from finetune.report.summary import summarise
from finetune.report.verdict import judge
from finetune.trust.class_curve import Slope
from tests.finetune.report.making import run


def measure(name: str, images: int, correct: int) -> ClassMeasure:
    return ClassMeasure(name, images, images, correct, 0.0, 0.0, 0.0)


def test_the_error_is_carried_on_along_the_curve() -> None:
    (grown,) = class_growths({0: Slope(0.7, 0.01)}, (measure("hat", 20_000, 15_000),), np.array([40]))
    assert grown.more == 40
    # A doubling makes odds of 1 : 3 to 1 : 6.04.
    assert grown.gain == pytest.approx(0.25 - 1 / (1 + 3 * np.exp(0.7)), abs=1e-4)
    low, high = grown.interval
    assert low < grown.gain < high < low + 0.02
    assert grown.words() == "40 more photos of “hat”: about +11 points (10 to 11) of its images recognised"


@pytest.mark.parametrize(("images", "more"), [(3, 10), (14, 10), (16, 20), (143, 140)])
def test_about_as_many_more_in_tens(images: int, more: int) -> None:
    (grown,) = class_growths({0: Slope(1.0, 0.01)}, (measure("hat", 1000, 500),), np.array([images]))
    assert grown.more == more


def test_only_what_surely_helps_is_named_the_most_first() -> None:
    classes = (measure("a", 200, 150), measure("b", 200, 100), measure("c", 200, 100), measure("d", 4, 0))
    slopes = {0: Slope(0.8, 0.1), 1: Slope(0.8, 0.1), 2: Slope(0.1, 0.3), 3: Slope(0.8, 0.1)}
    assert [one.name for one in class_growths(slopes, classes, np.full(4, 50))] == ["b", "a"]
    assert class_growths({0: Slope(1.0, 0.1)}, (measure("a", 200, 200),), np.array([50])) == ()


def test_page_and_advice_say_so(tmp_path: Path) -> None:
    found = run(class_slopes={0: Slope(0.9, 0.05)}, history=None)
    verdict = judge(found, summarise(found))
    assert "50 more photos of “cat”: about +1" in verdict.advice
    write_report(tmp_path, found)
    assert "<li>50 more photos of “cat”: about +1" in (tmp_path / "report.html").read_text()
