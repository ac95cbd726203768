"""Layers and initializers: shapes, statistics, and what changes between training and the rest."""

from __future__ import annotations

import numpy as np
import pytest

from finetune.autodiff import Graph, Session, Tensor, initializers, layers, placeholder, variable
from finetune.autodiff.ops.activations import relu
from finetune.autodiff.ops.reductions import reduce_sum
from finetune.autodiff.ops.training import in_training
from finetune.autodiff.optimizers import SGD
from models.errors import GraphError


def session(graph: Graph) -> Session:
    return Session(graph, device="cpu", threads=1)


def test_dense() -> None:
    with Graph() as graph:
        x = placeholder((None, 3))
        y = layers.dense(x, 2, relu)
    s = session(graph)
    w, b = graph.variables
    assert [v.name for v in graph.variables] == ["dense/weights", "dense/bias"]
    s.load({b: np.array([0.5, -0.5])})
    value = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    np.testing.assert_allclose(
        s.run(y, {x: value}), np.maximum(value @ s.value(w) + [0.5, -0.5], 0), rtol=1e-5
    )


def test_conv2d_and_pools_make_the_known_sizes() -> None:
    with Graph():
        x = placeholder((None, 1, 28, 28))
        h = layers.conv2d(x, 16, 5)
        assert h.shape == (None, 16, 28, 28)
        h = layers.conv2d(h, 8, 5, strides=2, bias=False)
        assert h.shape == (None, 8, 14, 14)
        assert layers.max_pool(h, 2).shape == layers.avg_pool(h, 2).shape == (None, 8, 7, 7)
        assert layers.flatten(h).shape == (None, 8 * 14 * 14)
        assert layers.global_avg_pool(h).shape == (None, 8)


@pytest.mark.parametrize("fetch", ["result", "both"])
def test_the_bias_of_a_convolution_is_added_once(fetch: str) -> None:
    """It is part of the matrix product, unless somebody looks at the convolution without it."""
    with Graph() as graph:
        x = placeholder((None, 4, 5, 5))
        y = layers.conv2d(x, 3, 3)
    s = session(graph)
    s.load({graph.variables[1]: np.array([1.0, 2.0, 3.0])})
    value = np.ones((2, 4, 5, 5), np.float32)
    bare = y.op.inputs[0]
    found = s.run([y, bare] if fetch == "both" else [y], {x: value})
    expected = s.run(bare, {x: value}) + np.array([1.0, 2.0, 3.0])[:, None, None]
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


def test_frozen_layers_have_nothing_to_train() -> None:
    with Graph() as graph:
        x = placeholder((None, 2, 4, 4))
        h = layers.batch_norm(layers.conv2d(x, 3, 1, trainable=False), frozen=True)
        layers.dense(layers.flatten(h), 2, trainable=False)
    assert graph.trainable_variables == []
    assert graph.updates == []


def images(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(3.0, 2.0, (8, 2, 5, 5)).astype(np.float32)


def test_batch_norm_normalises_the_batch_and_moves_its_statistics() -> None:
    with Graph() as graph:
        x = placeholder((None, 2, 5, 5))
        y = layers.batch_norm(x, momentum=0.75)
        train = SGD(0.0).minimize(reduce_sum(y))
    s = session(graph)
    _, normal = s.run([train, y], {x: images(0)})
    np.testing.assert_allclose(normal.mean((0, 2, 3)), 0.0, atol=1e-5)
    np.testing.assert_allclose(normal.std((0, 2, 3)), 1.0, atol=1e-4)
    mean, variance = (v for v in graph.variables if "moving" in v.name)
    np.testing.assert_allclose(s.value(mean), 0.25 * images(0).mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(s.value(variance), 0.75 + 0.25 * images(0).var((0, 2, 3), ddof=1), rtol=1e-5)
    later = s.run(y, {x: images(1)})  # outside of training: by the moving statistics
    expected = (images(1).transpose(0, 2, 3, 1) - s.value(mean)) / np.sqrt(s.value(variance) + 1e-5)
    np.testing.assert_allclose(later.transpose(0, 2, 3, 1), expected, rtol=1e-4, atol=1e-5)


def test_a_frozen_batch_norm_is_the_same_in_training() -> None:
    with Graph() as graph:
        x = placeholder((None, 2, 5, 5))
        y = layers.batch_norm(x, frozen=True)
    s = session(graph)
    np.testing.assert_array_equal(s.run(y, {x: images(0)}, training=True), s.run(y, {x: images(0)}))


def test_statistics_of_other_networks_in_the_graph_stay() -> None:
    with Graph() as graph:
        x, other = placeholder((None, 2, 5, 5)), placeholder((None, 2, 5, 5), name="other")
        layers.batch_norm(other)
        train = SGD(0.1).minimize(reduce_sum(layers.batch_norm(x)))
    session(graph).run(train, {x: images(0)})  # and `other` is not missed


def dropped(seed: int = 0, name: str | None = None, rate: float = 0.25) -> tuple[Graph, Tensor]:
    with Graph(seed=seed) as graph:
        ones = variable(np.ones((200, 50)), name="ones")
        return graph, layers.dropout(ones, rate, name)


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    graph, y = dropped()
    s = session(graph)
    value = s.run(y, training=True)
    np.testing.assert_allclose(np.unique(value), [0.0, 1 / 0.75], rtol=1e-6)
    assert (value == 0).mean() == pytest.approx(0.25, abs=0.015)  # 10,000 draws: 3.5 standard deviations
    np.testing.assert_array_equal(s.run(y), 1.0)


def test_dropout_is_a_function_of_seed_name_and_step() -> None:
    def mask(seed: int = 0, name: str | None = None, step: int = 0) -> np.ndarray:
        graph, y = dropped(seed, name)
        s = session(graph)
        s.load({graph.step: np.array(step)})
        return np.asarray(s.run(y, training=True) == 0)

    np.testing.assert_array_equal(mask(), mask())
    for other in (mask(seed=1), mask(name="other"), mask(step=1)):
        assert (mask() & other).mean() == pytest.approx(0.25**2, abs=0.01)  # independent of each other


def test_neighbours_are_dropped_independently() -> None:
    graph, y = dropped(rate=0.5)
    zero = (session(graph).run(y, training=True) == 0).ravel()
    for distance in (1, 2, 50):
        assert (zero[distance:] == zero[:-distance]).mean() == pytest.approx(0.5, abs=0.02)


def test_dropout_refuses_to_drop_everything() -> None:
    with Graph(), pytest.raises(GraphError, match=r"rate=1.0; expected 0 <= rate < 1"):
        layers.dropout(placeholder((2,)), 1.0)


def test_in_training_takes_one_shape() -> None:
    with Graph(), pytest.raises(GraphError, match=r"differ in shape: \(2\) and \(3\)"):
        in_training(placeholder((2,)), placeholder((3,)))


@pytest.mark.parametrize(
    ("initializer", "shape", "deviation", "limit"),
    [
        (initializers.truncated_normal(0.1), (100, 100), 0.1 * 0.8796, 0.2),
        (initializers.xavier_uniform, (150, 50), (2 / 200) ** 0.5, (6 / 200) ** 0.5),
        (initializers.xavier_normal, (150, 50), (2 / 200) ** 0.5, 2.3 * (2 / 200) ** 0.5),
        (initializers.he_normal, (50, 20, 3, 3), (2 / 180) ** 0.5, 2.3 * (2 / 180) ** 0.5),
        (initializers.he_uniform, (50, 20, 3, 3), (2 / 180) ** 0.5, (6 / 180) ** 0.5),
        (initializers.xavier_uniform, (50, 20, 3, 3), (2 / 630) ** 0.5, (6 / 630) ** 0.5),
        (initializers.constant(0.5), (10,), 0.0, 0.5),
        (initializers.zeros, (10,), 0.0, 0.0),
        (initializers.ones, (10,), 0.0, 1.0),
    ],
)
def test_initializer(initializer, shape, deviation, limit) -> None:
    values = initializer(np.random.default_rng(0), shape)
    assert values.shape == shape
    assert values.std() == pytest.approx(deviation, rel=0.05)
    assert np.abs(values).max() <= limit
