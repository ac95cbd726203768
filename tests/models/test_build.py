"""Blueprints as ONNX models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models.architectures.blueprint import Blueprint
from models.architectures.graft_mini import graft_mini
from models.build import build
from models.errors import ModelError, WeightsError
from models.opset import IR_VERSION, OPSET
from models.weights.random import random_weights
from models.zoo import ZOO
from scripts.golden.seeded import images
from tests.models.running import run, small_network

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def built(network: Blueprint, *, fold: bool = True, half: bool = False) -> onnx.ModelProto:
    return build(network, random_weights(network), mean=MEAN, std=STD, fold=fold, half=half)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


# Every architecture of the zoo is among them; a variant of one differs in the tests of its own.
NETWORKS = {"small_network": small_network(), "graft_mini": graft_mini()} | {
    getattr(row.architecture, "func", row.architecture).__name__: row.architecture()
    for row in ZOO
    if row.architecture is not None
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("half", [True, False])
def test_the_checker_accepts_the_model(network: Blueprint, fold: bool, half: bool) -> None:
    model = built(network, fold=fold, half=half)
    onnx.checker.check_model(model, full_check=True)
    assert (model.opset_import[0].version, model.ir_version) == (OPSET, IR_VERSION)
    made = {output for node in model.graph.node for output in node.output}
    assert set(network.cuts) <= made
    assert "Identity" not in operators(model)
    convolutions = sum(layer.op == "conv" for layer in network.layers)
    assert operators(model).count("BatchNormalization") == (0 if fold else convolutions)


@pytest.mark.parametrize("fold", [True, False])
def test_the_small_network_computes_what_it_should(fold: bool) -> None:
    """Against the formulas, spelled out in NumPy in float64."""
    network, pixels = small_network(), images(8)
    weights = {name: values.astype(np.float64) for name, values in random_weights(network).items()}
    x = ((pixels / 255 - MEAN) / STD).transpose(0, 3, 1, 2)  # (N, H, W, C) to (N, C, H, W)

    def windows(x: np.ndarray) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))  # (N, C, H, W, 3, 3)

    def conv(x: np.ndarray, name: str) -> np.ndarray:
        kernel = weights[f"{name}.conv.weight"]
        patches = windows(x) if kernel.shape[2:] == (3, 3) else x[..., None, None]
        scale, shift, mean, variance = (
            weights[f"{name}.bn.{part}"][:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        linear = np.einsum("nchwij,fcij->nfhw", patches, kernel)
        return np.maximum((linear - mean) / np.sqrt(variance + 1e-3) * scale + shift, 0)

    inside = windows(np.ones((1, 1, 8, 8))).sum((4, 5))  # padding does not count in the mean
    pooled = windows(x).sum((4, 5)) / inside
    mixed = np.concatenate([conv(x, "one"), conv(conv(x, "three_1"), "three_2"), conv(pooled, "pool_1")], 1)
    pool = mixed.mean((2, 3))
    logits = pool @ weights["fc.weight"].T + weights["fc.bias"]
    exponents = np.exp(logits - logits.max(1, keepdims=True))
    expected = {
        "mixed": mixed,
        "pool": pool,
        "logits": logits,
        "probabilities": exponents / exponents.sum(1, keepdims=True),
    }
    found = run(built(network, fold=fold), pixels, network.cuts)
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_padded_first_convolution_sees_zeros_at_its_border() -> None:
    """An image of exactly the mean is zero everywhere, border included."""
    b = Blueprint((4, 4), batch_norm_epsilon=1e-5)
    x = b.cut(b.conv(b.INPUT, "first", 2, 3), "first")
    b.cut(b.dense(b.global_pool(x, "pool"), "fc", 2), "logits")
    model = build(b, random_weights(b), mean=(0.2, 0.4, 0.6), std=(0.1, 0.2, 0.3))
    image = np.broadcast_to(np.array([51, 102, 153], np.uint8), (1, 4, 4, 3))
    maps = run(model, np.ascontiguousarray(image), ["first"])["first"]
    np.testing.assert_allclose(maps, np.broadcast_to(maps[:, :, 1:2, 1:2], maps.shape), atol=1e-5)


def test_half_precision_halves_the_file_and_changes_little() -> None:
    network = graft_mini()
    whole, half = built(network), built(network, half=True)
    assert half.ByteSize() < 0.51 * whole.ByteSize()
    stored = {tensor.name: numpy_helper.to_array(tensor).dtype for tensor in half.graph.initializer}
    assert stored["fc.weight.half"] == np.float16
    assert stored["fc.bias"] == np.float32
    a, b = (run(model, images(128))["probabilities"] for model in (whole, half))
    np.testing.assert_allclose(a, b, atol=5e-3)


def test_a_kernel_too_large_for_half_precision_is_refused() -> None:
    weights = random_weights(small_network())
    weights["fc.weight"][0, 0] = 7e4
    with pytest.raises(WeightsError, match=r"fc\.weight reaches 7e\+04; half precision ends at 65504"):
        build(small_network(), weights, mean=MEAN, std=STD, half=True)


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"fc\.weight has shape \(7, 11\); expected \(6, 11\)"):
        build(small_network(6), random_weights(small_network(7)), mean=MEAN, std=STD)


@pytest.mark.parametrize(
    ("mean", "std"), [((0.5,), (0.5,)), (MEAN, (1, 0, 1)), ((np.nan, 0, 0), STD), ((), ())]
)
def test_a_normalisation_that_cannot_be_is_refused(mean: Sequence[float], std: Sequence[float]) -> None:
    with pytest.raises(ModelError, match="expected three finite numbers each, std above 0"):
        build(small_network(), random_weights(small_network()), mean=mean, std=std)


def test_a_cut_after_dropout_or_with_a_second_name_is_a_tensor_too() -> None:
    network = small_network()
    network.cut("dropout", "head_input")
    network.cut("block", "again")
    model = built(network)
    onnx.checker.check_model(model, full_check=True)
    found = run(model, images(8), network.cuts)
    np.testing.assert_array_equal(found["head_input"], found["pool"])
    np.testing.assert_array_equal(found["again"], found["mixed"])
