"""Whole networks and their tops: forward equals onnxruntime with the file, and gradients reach the weights."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from finetune.autodiff import Graph, Session, gradients
from finetune.autodiff.importing import import_onnx
from models.architectures.inception_v3 import inception_v3
from models.build import build
from models.weights.random import random_weights
from tests import optional
from tests.finetune.autodiff.importing.networks import imported, largest_difference, original, reals

BUILTIN = Path(__file__).parents[4] / "models" / "builtin" / "graft_mini.onnx"
MOBILENET, TRUNK = "mobilenet_v2_1.0_224.onnx", "inception_v3_2015_trunk.onnx"


@functools.cache
def load(name: str) -> ModelProto:
    """One of the networks; skips the test where it is not there."""
    if name in ("inception_v3_folded", "inception_v3_unfolded"):
        blueprint = inception_v3()
        mean = std = (0.5, 0.5, 0.5)
        fold = name == "inception_v3_folded"
        return build(blueprint, random_weights(blueprint, 0), mean=mean, std=std, fold=fold)
    return onnx.load(BUILTIN if name == "graft_mini" else optional.pretrained(name))


@pytest.fixture(scope="module", autouse=True)
def _forgotten_afterwards() -> Iterator[None]:
    """Together the networks take some 300 MB."""
    yield
    load.cache_clear()


def photos(model: ModelProto, count: int) -> np.ndarray:
    """What a network takes: bytes or real numbers."""
    value = model.graph.input[0].type.tensor_type
    sizes = [dim.dim_value for dim in value.shape.dim[1:]]
    if value.elem_type == onnx.TensorProto.UINT8:
        return np.random.default_rng(0).integers(0, 256, (count, *sizes), np.uint8)
    return reals(count, *sizes)


@pytest.mark.parametrize(
    "name", ["inception_v3_folded", "inception_v3_unfolded", "graft_mini", MOBILENET, TRUNK]
)
def test_the_whole_network_equals_onnxruntime(name: str) -> None:
    model = load(name)
    x = photos(model, 1)
    part, _, got = imported(model, x, trainable=False)
    want = original(model, {model.graph.input[0].name: x}, list(part.outputs))
    assert [largest_difference(a, b) <= 1e-5 for a, b in zip(got, want, strict=True)] == [True] * len(want)
    assert part.input.shape == (None, *x.shape[1:])
    assert part.input.dtype == x.dtype


TOPS: list[tuple[str, str, list[str], list[str] | bool]] = [
    ("inception_v3_folded", "mixed_7b", ["logits"], ["mixed_7c.branch_pool", "fc"]),
    ("inception_v3_unfolded", "mixed_7b", ["logits"], True),
    ("graft_mini", "features", ["logits"], True),
    (MOBILENET, "t153", ["t173"], True),
    (TRUNK, "mixed_6e", ["features"], True),
]


@pytest.mark.parametrize(("name", "cut", "outputs", "trainable"), TOPS, ids=[top[0] for top in TOPS])
def test_a_top_equals_onnxruntime_and_can_be_trained(
    name: str, cut: str, outputs: list[str], trainable: Any
) -> None:
    model = load(name)
    x = photos(model, 1)
    at_cut, *want = original(model, {model.graph.input[0].name: x}, [cut, *outputs])
    part, session, got = imported(model, at_cut, from_cut=cut, outputs=outputs, trainable=trainable)
    for one, expected in zip(got, want, strict=True):
        assert largest_difference(one, expected) <= 1e-5
    trained = [variable for variable in part.variables.values() if variable.trainable]
    loss = (part.logits * part.logits).mean()
    results = session.run(gradients(loss, trained), {part.input: at_cut})
    assert len(results) >= 2
    assert all(np.isfinite(g).all() and np.abs(g).max() > 0 for g in results)


def test_every_cut_point_can_be_fetched() -> None:
    model = load("inception_v3_folded")
    with Graph():
        part = import_onnx(model, trainable=False)
    assert set(inception_v3().cuts) <= set(part.tensors)
    assert part.tensors["mixed_7c"].shape == (None, 2048, 8, 8)
    assert part.tensors["pool"].shape == (None, 2048)
    assert part.logits is part.tensors["logits"]


def test_statistics_of_batch_norm_are_frozen() -> None:
    with Graph():
        part = import_onnx(load("inception_v3_unfolded"), "mixed_7c", outputs=["logits"])
        assert sorted(part.variables) == ["fc.bias", "fc.weight"]
        part = import_onnx(load("inception_v3_unfolded"), "mixed_7b", outputs=["mixed_7c"])
    kinds = {weight.rpartition(".")[2]: variable.trainable for weight, variable in part.variables.items()}
    assert kinds == {"weight": True, "bias": True, "running_mean": False, "running_var": False}


def test_half_precision_becomes_the_dtype_of_the_graph() -> None:
    with Graph(dtype=np.float64) as graph:
        part = import_onnx(load("graft_mini"), "features")
    assert {variable.dtype for variable in part.variables.values()} == {np.dtype(np.float64)}
    assert sorted(part.variables) == ["fc.bias", "fc.weight"]
    weights = next(v for v in load("graft_mini").graph.initializer if v.name.startswith("fc.weight"))
    value = Session(graph, device="cpu").value(part.variables["fc.weight"])
    np.testing.assert_array_equal(value, onnx.numpy_helper.to_array(weights))
