from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from finetune.report.findings import (
    Findings,
    History,
    LearningPoint,
    ProofResult,
    Rejection,
)
from finetune.report.shown import Shown, shown_words
from finetune.report.summary import summarise
from finetune.report.verdict import Verdict, judge
from tests.finetune.report.making import NAMES, answers, regression, run

TRUTH = np.arange(300) % 3
LEVEL = (LearningPoint(50, 1.0, 0.8, 0.8, 0.01), LearningPoint(150, 0.99, 0.8, 0.8, 0.02))


def verdict(findings: Findings) -> Verdict:
    return judge(findings, summarise(findings))


def test_figure_comes_with_its_interval() -> None:
    assert verdict(run()).figure.replace("\u00a0", " ") == (
        "The model is right on 80.0 % of 300 test images that it did not learn from; on other images of the same kind, "
        "expect 75.1 % to 84.1 % (95 % confidence)."
    )


def test_good_run_says_what_was_checked() -> None:
    found = verdict(run())
    assert found.trusted
    assert found.trust == (
        "Nothing was found that speaks against this figure: no measured image has a duplicate among the training "
        "images, the model that was kept is not over-fitted, its probabilities mean what they say and the finished "
        "file gives the same answers in a fresh process."
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "train for more epochs"),
        ({"history": None}, "the learning curve still rises"),
        (
            {"history": None, "learning_curve": LEVEL},
            "look at “cat” taken for “dog”, which is 20 of the 60 mistakes",
        ),
        (
            {"history": None, "learning_curve": None, "wrong": 0, "after": answers(TRUTH, TRUTH, 3, 1.0)},
            "use it, and test it on images",
        ),
    ],
)
def test_advice_is_the_first_that_applies(changes: dict[str, Any], words: str) -> None:
    assert words in verdict(run(**changes)).advice


OVERFITTED = History(np.ones(4), np.ones(4), np.ones(4), np.ones(4) * 0.7)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"truth": None, "after": None, "before": None}, "nothing was measured"),
        ({"proof": ProofResult(32, 0.01)}, "differs from the training session by 0.01"),
        ({"proof": ProofResult(32, float("nan"))}, "differs from the training session"),
        ({"measured_on": "val"}, "also chose the settings"),
        ({"after": np.full((300, 3), np.nan)}, "300 answers held no numbers"),
        ({"leaks": np.array([1, 2])}, "2 of the measured images have duplicates"),
        ({"wrong": 290}, "always answering the most frequent class would be right on"),
        ({"after": answers(TRUTH, TRUTH, 3, 0.5)}, "its probabilities are off by 50.0 points"),
        ({"images": 99, "wrong": 0}, "99 images are few to judge by"),
        ({"images": 1, "wrong": 0}, "1 image is few to judge by"),
        ({"history": OVERFITTED}, "the model is strongly over-fitted"),
        ({"failed": (("a.jpg", "broken"),) * 50}, "50 of 350 images could not be read"),
    ],
)
def test_concerns_are_named(changes: dict[str, Any], words: str) -> None:
    found = verdict(run(**changes))
    assert not found.trusted
    assert words in " ".join(concern.words for concern in found.concerns)
    assert all(concern.advice.endswith(".") and concern.words.endswith(".") for concern in found.concerns)


def test_weak_class_is_named() -> None:
    predicted = np.where((TRUTH == 2) & (np.arange(300) % 2 == 0), 0, TRUTH)
    predicted[2] = predicted[5] = predicted[11] = 0
    found = verdict(run(after=answers(TRUTH, predicted, 3)))
    assert f"of “{NAMES[2]}”" in found.trust


def test_gravest_concerns_come_first_and_the_rest_is_counted() -> None:
    found = verdict(run(images=60, wrong=50, leaks=np.array([3]), measured_on="val"))
    assert found.trust.startswith(
        "Take this with care: these images also chose the settings, so the figure is too good. 1 of"
    )
    assert found.trust.endswith("3 more reasons are in the report, under Reasons for care.")


def test_a_leak_without_effect_is_no_concern() -> None:
    found = verdict(run(leaks=np.array([200])))
    assert found.trusted
    assert "duplicate" not in found.trust


def test_regression_has_a_figure_in_its_unit() -> None:
    found = verdict(regression())
    assert found.trusted
    assert "off by 0.5 kg on average" in found.figure


def test_regression_no_better_than_the_median() -> None:
    flat = regression(values=np.full(200, 5, np.float32), interval=None)
    assert "answering the median would be as good" in verdict(flat).trust


def test_a_regression_worse_than_the_mean_does_not_explain() -> None:
    truth = regression().truth
    assert truth is not None
    figure = verdict(regression(values=np.asarray(truth)[::-1].copy(), interval=None)).figure
    assert "Always answering the mean would be closer (R² −" in figure
    assert "explains" not in figure


def test_many_known_images_rejected_are_a_reason_for_care() -> None:
    scores = np.linspace(0, 1, 300)
    rejected = Rejection("energy", 0.74, scores)
    found = verdict(run(rejection=rejected, settings={"keep": 0.95}))
    (concern,) = [one for one in found.concerns if "taken for none of these" in one.words]
    assert "26.0\u00a0% of the images of known classes" in concern.words
    assert "5\u00a0% was asked for" in concern.words
    assert "raise --keep" in concern.advice
    fine = verdict(run(rejection=Rejection("energy", 0.94, scores), settings={"keep": 0.95}))
    assert not any("none of these" in one.words for one in fine.concerns)


def test_strangers_that_would_be_accepted_are_a_reason_for_care() -> None:
    shown = (
        Shown("noise", 6, 6, (("noise 1", "cup", 0.925), ("noise 2", "dog", 0.6))),
        Shown("text", 34, 0),
    )
    found = verdict(run(strangers=shown))
    (concern,) = [one for one in found.concerns if "none of its classes" in one.words]
    assert "6 of 40 images" in concern.words
    assert "6 of 6 noise (cup 92.5 %)" in concern.words
    assert shown_words(shown) == (
        "Of 40 images that are none of the classes - noise, text - it would accept 6: 6 of 6 noise (cup 92.5 %)."
    )
    assert shown_words(shown[1:]).endswith("- text - it would accept none.")
    assert shown_words(()) == ""
    assert verdict(run(strangers=(Shown("noise", 6, 0), Shown("text", 34, 4)))).trusted


def test_unequal_classes_have_advice_of_their_own() -> None:
    counts = {
        "train": np.array([340, 10, 50]),
        "val": np.array([10, 10, 10]),
        "test": np.array([100, 100, 100]),
    }
    found = verdict(run(counts=counts))
    (concern,) = [one for one in found.concerns if "34 times as many" in one.words]
    assert "--class-weights" in concern.advice


def test_few_images_that_are_no_better_than_one_class_call_for_more_of_them() -> None:
    truth = np.repeat([0, 1, 2], [10, 1, 1])
    after = np.tile([0.8, 0.1, 0.1], (12, 1))
    found = verdict(
        run(
            ids=tuple("abcdefghijkl"), truth=truth, before=after, after=after, previous=None, rejection=None,
            history=None,
        )
    )  # fmt: skip
    assert "12 cannot tell the two apart" in found.advice


@pytest.mark.parametrize("history", [OVERFITTED, History(np.array([1.0, np.nan, 1]), np.ones(3))])
def test_what_to_do_holds_things_to_do(history: History) -> None:
    for concern in verdict(run(history=history)).concerns:
        assert concern.advice.split()[0] in (
            "Add",
            "Train",
            "Measure",
            "Check",
            "Put",
            "Go",
            "Use",
            "Look",
            "Weigh",
        )
