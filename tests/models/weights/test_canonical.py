"""What is said about weights that do not fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.errors import WeightsError
from models.weights.canonical import check, expected_shapes
from models.weights.random import random_weights
from tests.models.running import small_network

Weights = dict[str, np.ndarray]


def change(name: str, values: np.ndarray) -> Callable[[Weights], None]:
    return lambda weights: weights.update({name: values})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: w.pop("fc.bias"), r"lack fc\.bias; expected fc\.bias of shape \(6,\)"),
        (lambda w: [w.pop(k) for k in list(w) if k.startswith("one.")], r"lack one\.conv\.weight and 4 more"),
        (
            change("head.bias", np.ones(6)),
            r"hold head\.bias, which .* \(head\.bias has shape \(6,\); expected no such",
        ),
        (change("fc.weight", np.ones((9, 11))), r"fc\.weight has shape \(9, 11\); expected \(6, 11\)"),
        (change("fc.bias", np.ones((6, 1))), r"fc\.bias has shape \(6, 1\); expected \(6,\)"),
        (change("fc.bias", np.ones(6, np.int8)), r"fc\.bias is int8; expected floating-point numbers"),
        (change("fc.bias", np.full(6, np.nan)), r"fc\.bias holds NaN or infinity"),
        (change("fc.bias", np.full(6, -np.inf, np.float16)), r"fc\.bias holds NaN or infinity"),
        (change("fc.bias", np.full(6, 1e300)), r"fc\.bias holds NaN or infinity"),
        (change("one.bn.running_var", -np.ones(4)), r"one\.bn\.running_var holds negative variances"),
    ],
)
def test_each_misfit_is_named(spoil: Callable[[Weights], object], message: str) -> None:
    weights: Weights = dict(random_weights(small_network()))
    spoil(weights)
    with pytest.raises(WeightsError, match=message):
        check(small_network(), weights)


def test_renamed_tensors_are_shown_beside_what_is_missing() -> None:
    weights = dict(random_weights(small_network()))
    weights["module.fc.bias"] = weights.pop("fc.bias")
    with pytest.raises(WeightsError, match=r"lack fc\.bias; .* They hold module\.fc\.bias instead"):
        check(small_network(), weights)


def test_what_only_training_needs_is_left_out() -> None:
    weights: Weights = dict(random_weights(small_network()))
    weights["AuxLogits.fc.weight"] = np.full((6, 3), np.nan)
    weights["one.bn.num_batches_tracked"] = np.zeros((), np.int64)
    assert list(check(small_network(), weights)) == list(expected_shapes(small_network()))


def test_any_precision_becomes_float32() -> None:
    for kind in (np.float16, np.float64, ">f4"):
        weights = {name: values.astype(kind) for name, values in random_weights(small_network()).items()}
        assert {tensor.dtype for tensor in check(small_network(), weights).values()} == {np.dtype(np.float32)}
