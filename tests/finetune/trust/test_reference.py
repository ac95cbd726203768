"""How training images are described: axes, mean and covariance, and the same numbers out of the network."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from finetune.trust.reference import fit_reference
from models.opset import IR_VERSION, opset_imports
from models.runtime import OnnxSession, RuntimeConfig


def embeddings(count: int, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    random = np.random.default_rng(seed)
    return (random.normal(size=(count, 8)) * np.arange(1, 9) + 5).astype(np.float32)


def test_the_network_gives_the_same_numbers() -> None:
    described = fit_reference(embeddings(300), embeddings(100, 1), None, 0, "validation images")
    assert described is not None
    projector, reference = described
    graph = helper.make_graph(
        [],
        "projection",
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 8])],
        [helper.make_tensor_value_info("projection", TensorProto.FLOAT, ["N", reference.width])],
    )
    projector.nodes("embedding", "projection").append_to(graph)
    model = helper.make_model(graph, opset_imports=opset_imports(), ir_version=IR_VERSION)
    session = OnnxSession(model.SerializeToString(), RuntimeConfig("cpu", 1))
    x = np.concatenate([embeddings(20, 2), np.zeros((1, 8), np.float32)])  # a zero vector has no direction
    (values,) = session.run({"embedding": x})
    np.testing.assert_allclose(values, projector.project(x), atol=1e-4)


def test_training_images_have_deviation_1_along_each_axis_and_held_out_ones_are_described() -> None:
    train, held = embeddings(2000), embeddings(1500, 1)
    described = fit_reference(train, held, np.repeat([0, 2], (1000, 500)), 3, "validation images")
    assert described is not None
    projector, reference = described
    np.testing.assert_allclose(projector.project(train).std(axis=0), 1, atol=1e-3)
    np.testing.assert_allclose(projector.project(train).mean(axis=0), 0, atol=1e-3)
    assert (reference.images, reference.counts, reference.sample.shape) == (1500, (1000, 0, 500), (1000, 8))
    lying = projector.project(held)
    np.testing.assert_allclose(reference.mean, lying.mean(axis=0))
    np.testing.assert_allclose(reference.covariance, np.cov(lying, rowvar=False))
    shares = np.bincount(reference.classes, minlength=3) / 1000
    assert shares[0] == pytest.approx(2 / 3, abs=0.05)  # the sample keeps images and answers together


def test_equal_arguments_give_equal_bytes() -> None:
    ours, theirs = (
        fit_reference(embeddings(300), embeddings(100, 1), None, 0, "x", seed=3) for _ in range(2)
    )
    assert ours is not None
    assert theirs is not None
    assert ours[1].to_json() == theirs[1].to_json()
    assert ours[0].axes.tobytes() == theirs[0].axes.tobytes()


def test_too_few_or_equal_images_are_not_described() -> None:
    assert fit_reference(embeddings(40), embeddings(7), None, 0, "few") is None
    assert fit_reference(np.ones((40, 8), np.float32), embeddings(40), None, 0, "equal") is None
    described = fit_reference(embeddings(40), embeddings(20), None, 0, "enough")
    assert described is not None
    assert described[1].width == 5
