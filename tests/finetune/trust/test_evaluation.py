"""Counting how often a model is right."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from feature_extraction.items import ImageItem
from finetune.trust.evaluation import evaluate
from models.card import Label
from models.errors import InputError, NumericsError
from models.model import Model
from tests.fixtures import plain


def shown(*pairs: tuple[str, str]) -> Iterator[tuple[ImageItem, str]]:
    """Images of the first colour, said to be of the second."""
    for i, (colour, key) in enumerate(pairs):
        data = plain(colour) if colour else b"broken"
        yield ImageItem(f"{i}", lambda data=data: data), key


def test_counts_are_right(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "batch_size", 2)
    pairs = [("red", "red"), ("red", "c0"), ("blue", "red"), ("green", "GREEN"), ("", "blue")]
    heard: list[tuple[int, int]] = []
    result = evaluate(tiny, shown(*pairs), progress=lambda done, total: heard.append((done, total)))
    assert (result.images, result.top1, result.top5) == (4, 0.75, None)
    assert [(row.label.name, row.images, row.correct) for row in result.classes] == [
        ("red", 3, 2),
        ("green", 1, 1),
    ]
    assert result.classes[0].accuracy == pytest.approx(2 / 3)
    ((image, reason),) = result.failed
    assert image == "4"
    assert "not an image" in reason
    assert heard == [(2, 5), (4, 5), (5, 5)]
    assert result.images_per_second > 0


def test_classes_that_the_model_does_not_know_are_named(tiny: Model) -> None:
    with pytest.raises(
        InputError, match=r"pink, violet: no such class in tiny, which knows 3, such as c0 \(red\)"
    ):
        evaluate(tiny, shown(("red", "violet"), ("red", "pink"), ("red", "red")))


def test_classes_whose_names_differ_in_case_alone_are_two(
    tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = (Label("A", "A"), Label("a", "a"), Label("B", "B"))
    monkeypatch.setattr(tiny, "card", dataclasses.replace(tiny.card, labels=labels))
    result = evaluate(tiny, shown(("red", "A"), ("green", "a"), ("blue", "b")))
    assert [(row.label.name, row.correct) for row in result.classes] == [("A", 1), ("a", 1), ("B", 1)]


def test_many_unknown_classes_are_counted(tiny: Model) -> None:
    with pytest.raises(InputError, match="a0, a1, a2, a3, a4 and 4 more: no such class"):
        evaluate(tiny, shown(*(("red", f"a{i}") for i in range(9))))


def test_not_one_readable_image_is_an_error(tiny: Model) -> None:
    with pytest.raises(InputError, match=r"no image could be read out of 2.*The first: 0: not an image"):
        evaluate(tiny, shown(("", "red"), ("", "red")))


def test_nan_is_an_error(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "run", lambda batch, outputs: [np.full((len(batch), 3), np.nan, np.float32)])
    with pytest.raises(NumericsError, match="tiny: answers with NaN"):
        evaluate(tiny, shown(("red", "red")))


def test_top5_counts_the_five_best(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    ten = dataclasses.replace(tiny.card, labels=tuple(Label(f"k{i}", f"class {i}") for i in range(10)))
    rising = np.linspace(0, 1, 10, dtype=np.float32)  # k9 is best, k5 fifth, k4 sixth
    monkeypatch.setattr(tiny, "card", ten)
    monkeypatch.setattr(tiny, "run", lambda batch, outputs: [np.tile(rising, (len(batch), 1))])
    result = evaluate(tiny, shown(("red", "k9"), ("red", "k5"), ("red", "k4"), ("red", "k0")))
    assert (result.top1, result.top5) == (0.25, 0.5)
    monkeypatch.setattr(tiny, "card", dataclasses.replace(ten, labels=ten.labels[5:]))
    monkeypatch.setattr(tiny, "run", lambda batch, outputs: [np.tile(rising[5:], (len(batch), 1))])
    assert evaluate(tiny, shown(("red", "k9"))).top5 is None  # five of five are always right
