"""A yes-or-no classifier for each label: the same in ONNX as in scikit-learn, for every kind."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from finetune.classifiers.families import CLASSIFIERS
from finetune.classifiers.several import check_labels, export_labels, fit_labels
from finetune.trust.multilabel import mean_average_precision
from models.errors import ModelError


def clouds(images: int = 60, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features (N, 20) and two labels, each of which moves them along a direction of its own."""
    random = np.random.default_rng(seed)
    y = (random.random((images, 2)) < (0.5, 0.3)).astype(np.float32)
    directions = np.random.default_rng(1).normal(size=(2, 20)) * 1.5
    return (y @ directions + random.normal(size=(images, 20))).astype(np.float32), y


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_learns_and_says_the_same_in_onnx(kind: str) -> None:
    x, y = clouds()
    fitted = fit_labels(kind, x, y, ("hat", "red"))
    top = export_labels(fitted)
    others, truth = clouds(seed=5)
    assert check_labels(top, fitted, others) < 1e-5
    assert mean_average_precision(truth, fitted.probabilities(others)) > 0.85
    assert set(top.chosen["labels"]) == {"hat", "red"}
    assert export_labels(fit_labels(kind, x, y, ("hat", "red"))).model == top.model


def test_check_finds_a_top_that_is_wrong() -> None:
    x, y = clouds()
    fitted = fit_labels("logistic", x, y, ("hat", "red"))
    swapped = export_labels(fit_labels("logistic", x, y[:, ::-1], ("red", "hat")))
    with pytest.raises(ModelError, match="the exported top and scikit-learn differ"):
        check_labels(swapped, fitted, x)


def test_refit_passes_over_labels_that_tell_nothing_apart() -> None:
    x, y = clouds()
    fitted = fit_labels("logistic", x, y, ("hat", "red"))
    y[:, 1] = 0
    logits = fitted.refit(x, y)(x)
    assert (logits[:, 1] == 0).all()
    assert mean_average_precision(y[:, :1], logits[:, :1]) > 0.9
