"""Settings as a person reads them."""

from __future__ import annotations

import pytest

from finetune.pages.formatting import flatten, seconds


def test_settings_are_words() -> None:
    settings = {
        "learning_rate": 0.01, "hidden": (64, 32), "cut": None, "flip": True, "class_weights": "", "candidates": (),
        "phases": [{"phase": "head", "best_epoch": 3, "val_r2": None}],
        "two": [{"a_b": 1}, {"a_b": 2}],
        "training": {"rate_factor": 0.1},
    }  # fmt: skip
    assert flatten(settings) == [
        ("learning rate", "0.01"),
        ("hidden", "64, 32"),
        ("flip", "yes"),
        ("phases: phase", "head"),
        ("phases: best epoch", "3"),
        ("two 1: a b", "1"),
        ("two 2: a b", "2"),
        ("training: rate factor", "0.1"),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 ms"),
        (8.5e-6, "under 1 ms"),
        (0.0006, "0.6 ms"),
        (0.012, "12 ms"),
        (3.64, "3.6 s"),
        (75.0, "1 min 15 s"),
    ],
)
def test_times_have_the_unit_that_suits_them(value: float, text: str) -> None:
    assert seconds(value).replace("\N{NO-BREAK SPACE}", " ") == text
