"""Seeded weights."""

from __future__ import annotations

import numpy as np

from models.architectures.graft_mini import graft_mini
from models.build import build
from models.weights.random import random_tensor, random_weights, uniform
from scripts.golden.seeded import images
from tests.models.running import run, small_network


def test_the_stream_never_changes() -> None:
    """Golden vectors rest on these numbers."""
    bits = uniform("name", (5,), 1) * 2**23
    assert bits.tolist() == [-4656128, -18900, 78624, -1196068, -1639511]


def test_a_tensor_depends_on_its_name_and_the_seed_alone() -> None:
    one, same, other = (
        random_weights(small_network(), 1),
        random_weights(small_network(9), 1),
        random_weights(small_network(), 2),
    )
    for name in ("one.conv.weight", "one.bn.running_mean"):
        np.testing.assert_array_equal(one[name], same[name])
        assert not np.array_equal(one[name], other[name])
    assert not np.array_equal(one["one.bn.bias"], one["one.bn.running_mean"])


def test_kernels_have_the_variance_of_he() -> None:
    kernel = random_tensor("kernel", "k", (64, 32, 3, 3), 0)
    assert kernel.dtype == np.float32
    np.testing.assert_allclose(kernel.var(), 2 / (32 * 3 * 3), rtol=0.02)
    np.testing.assert_allclose(kernel.mean(), 0, atol=2e-3)


def test_activations_neither_vanish_nor_explode() -> None:
    network = graft_mini()
    model = build(network, random_weights(network), mean=(0.5,) * 3, std=(0.5,) * 3)
    for cut, values in run(model, images(128, 1), network.cuts).items():
        if cut != "probabilities":
            assert 0.3 < np.sqrt(np.mean(values**2)) < 5, cut
