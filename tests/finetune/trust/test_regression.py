"""How far a regression is from the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from feature_extraction.items import ImageItem
from finetune.trust.regression import evaluate_regression
from models.errors import InputError, ModelError
from models.model import Model
from models.runtime import RuntimeConfig
from tests.fixtures import plain
from tests.tuned import tuned_regression


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model.open(tuned_regression(tmp_path), RuntimeConfig("cpu", threads=1))


def shown(*pairs: tuple[str, float]) -> list[tuple[ImageItem, float]]:
    """Images of a colour, said to be so red."""
    read = [(plain(colour) if colour else b"broken", target) for colour, target in pairs]
    return [(ImageItem(str(i), lambda data=data: data), target) for i, (data, target) in enumerate(read)]


def test_errors_are_right(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "batch_size", 2)
    heard: list[tuple[int, int]] = []
    items = shown(("red", 99.8), ("blue", 3.0), ("", 1.0), ("green", -1.0))
    found = evaluate_regression(model, items, progress=lambda a, b: heard.append((a, b)))
    assert (found.images, [name for name, _ in found.failed]) == (3, ["2"])
    assert found.mae == pytest.approx((0.2 + 3 + 1) / 3, rel=1e-4)
    assert found.mse == pytest.approx((0.04 + 9 + 1) / 3, rel=1e-4)
    mean = (99.8 + 3 - 1) / 3
    spread = ((99.8 - mean) ** 2 + (3 - mean) ** 2 + (-1 - mean) ** 2) / 3
    assert found.r2 == pytest.approx(1 - found.mse / spread)
    assert found.coverage == pytest.approx(1 / 3)
    assert heard == [(2, 4), (4, 4)]
    assert found.images_per_second > 0


def test_equal_targets_have_no_r2(model: Model) -> None:
    assert evaluate_regression(model, shown(("red", 5.0), ("blue", 5.0))).r2 is None


def test_not_one_readable_image(model: Model) -> None:
    with pytest.raises(InputError, match=r"no image could be read out of 1.*The first: 0: not an image"):
        evaluate_regression(model, shown(("", 1.0)))


def test_classifier_is_refused(tiny: Model) -> None:
    with pytest.raises(ModelError, match="tiny: gives logits, probabilities; expected a regression"):
        evaluate_regression(tiny, shown(("red", 1.0)))
