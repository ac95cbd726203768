from __future__ import annotations

from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np
import pytest

from finetune.report.findings import Traits
from finetune.report.page import write_report
from finetune.report.weak_spots import SIGNIFICANT, find_weak_spots
from tests.finetune.report.making import NAMES, answers, run, thumbnail

N = 300
TRUTH = np.arange(N, dtype=np.int64) % 3
SURE = np.linspace(0.5, 1, N)


def traits(**changes: np.ndarray) -> Traits:
    plain = {
        "sides": np.full(N, 100),
        "brightness": np.full(N, 90.0),
        "groups": np.full(N, -1),
    }
    return Traits(**(plain | changes), names={7: "hat/7.jpg"})  # type: ignore[arg-type]


def answered(wrong: np.ndarray) -> np.ndarray:
    return np.where(wrong, (TRUTH + 1) % 3, TRUTH)


def some(rows: np.ndarray, rate: float, seed: int = 0) -> np.ndarray:
    return rows & (np.random.default_rng(seed).random(N) < rate)


@pytest.mark.parametrize(
    ("weak", "changes", "kind", "words"),
    [
        (TRUTH == 2, {}, "class", "Images of “cup”"),
        (np.arange(N) < 70, {"sides": 100 + np.arange(N)}, "size", "The smallest photos, of at most 175 pixels"),
        (np.arange(N) > 230, {"sides": 100 + np.arange(N)}, "size", "The largest photos, of at least 324 pixels"),
        (np.arange(N) < 70, {"brightness": np.arange(N) / 2}, "brightness", "The darkest photos"),
        (np.arange(N) > 230, {"brightness": np.arange(N) / 2}, "brightness", "The brightest photos"),
        (np.arange(N) % 9 == 7, {"groups": np.where(np.arange(N) % 9 == 7, 7, -1)}, "copies", "“hat/7.jpg” and its"),
    ],
)  # fmt: skip
def test_what_is_wrong_more_often_is_named(
    weak: np.ndarray, changes: dict[str, np.ndarray], kind: str, words: str
) -> None:
    wrong = some(weak, 0.6) | some(~weak, 0.1, 1)
    spots = find_weak_spots(TRUTH, answered(wrong), SURE, NAMES, traits(**changes))
    assert (spots[0].kind, spots[0].words()[: len(words)]) == (kind, words)
    assert spots[0].wrong.value > 2 * spots[0].others.value
    assert list(spots[0].rows) == sorted(spots[0].rows, reverse=True)  # the surest first
    assert wrong[list(spots[0].rows)].all()


@pytest.mark.parametrize(
    ("mistakes", "images", "wrong"), [(0, 75, 50), (12, 75, 50), (50, 75, 50), (75, 75, 90), (51, 250, 100)]
)
def test_how_likely_so_many_mistakes_are_is_exact(mistakes: int, images: int, wrong: int) -> None:
    """Fisher's exact test: of all ways to deal out the mistakes those in which the images have so many or more."""
    ways = sum(comb(wrong, i) * comb(N - wrong, images - i) for i in range(mistakes, min(images, wrong) + 1))
    expected = float(Fraction(ways, comb(N, images)))
    truth = np.zeros(N, np.int64)
    truth[:images] = 1
    predicted = truth.copy()
    predicted[:mistakes] = 0
    predicted[images : images + wrong - mistakes] = 1
    spots = find_weak_spots(truth, predicted, SURE, NAMES[:2], None)
    named = [spot.p for spot in spots if spot.rows and (truth[list(spot.rows)] == 1).all()]
    assert named == ([pytest.approx(expected, rel=1e-9)] if expected < SIGNIFICANT / 2 else [])


def test_chance_names_nothing() -> None:
    """Of reports without a weak spot one in twenty names one."""
    named = 0
    for seed in range(200):
        dice = np.random.default_rng(seed)
        wrong = dice.random(N) < 0.25
        alike = traits(sides=dice.integers(50, 500, N), brightness=dice.random(N) * 255)
        named += bool(find_weak_spots(TRUTH, answered(wrong), SURE, NAMES, alike))
    assert named <= 18


def test_nothing_to_compare() -> None:
    assert find_weak_spots(TRUTH, TRUTH, SURE, NAMES, traits()) == ()
    assert find_weak_spots(TRUTH, answered(np.ones(N, bool)), SURE, NAMES, traits()) == ()
    few = np.array([0, 1, 1, 1])
    assert find_weak_spots(few, 1 - few, SURE[:4], NAMES[:2], None) == ()


def test_page_shows_their_photos(tmp_path: Path) -> None:
    weak = TRUTH == 2
    wrong = some(weak, 0.7)
    after = answers(TRUTH, answered(wrong), 3)
    write_report(tmp_path, run(after=after, traits=traits()), lambda row: thumbnail())
    text = (tmp_path / "report.html").read_text()
    section = text[text.index('<section id="weak">') : text.index('<section id="mistakes">')]
    assert "Images of “cup”" in section
    assert section.count("<img") == 4
