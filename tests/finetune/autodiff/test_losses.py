"""Losses against SciPy and by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

from finetune.autodiff import Graph, Session, Tensor, constant, gradients, losses, placeholder
from finetune.autodiff.ops.softmax import softmax
from models.errors import ShapeError

LOGITS = np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])
LABELS = np.array([1, 0])
ONE_HOT = np.eye(3)[LABELS]
P = np.array([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1]])
Q = np.array([[0.3, 0.3, 0.4], [0.5, 0.25, 0.25]])


def value(loss: Callable[..., Tensor], *arrays: Any) -> float:
    with Graph() as graph:
        return float(Session(graph, device="cpu", threads=1).run(loss(*(constant(a) for a in arrays))))


def test_mean_squared_error_of_house_prices() -> None:
    """90 m2 for 160,000 and 120 m2 for 230,000, as price = 1000 m2 + 100."""
    with Graph(np.float64) as graph:
        loss = losses.mean_squared_error(1000.0 * constant([90.0, 120.0]) + 100.0, [160_000.0, 230_000.0])
    assert Session(graph, device="cpu", threads=1).run(loss) == 8_482_010_000


@pytest.mark.parametrize("labels", [LABELS, ONE_HOT], ids=["integers", "distributions"])
def test_softmax_cross_entropy(labels: Any) -> None:
    logs = scipy.special.log_softmax(LOGITS, -1)
    assert value(losses.softmax_cross_entropy, LOGITS, labels) == pytest.approx(-(ONE_HOT * logs).sum() / 2)


def test_label_smoothing() -> None:
    smooth = 0.7 * ONE_HOT + 0.1
    expected = -(smooth * scipy.special.log_softmax(LOGITS, -1)).sum() / 2
    assert value(lambda x, t: losses.softmax_cross_entropy(x, t, 0.3), LOGITS, LABELS) == pytest.approx(
        expected
    )


def test_class_weights() -> None:
    each = -(ONE_HOT * scipy.special.log_softmax(LOGITS, -1)).sum(-1)
    expected = (3.0 * each[0] + 1.0 * each[1]) / 4.0
    weighted = value(lambda x, t: losses.softmax_cross_entropy(x, t, class_weights=[1, 3, 9]), LOGITS, LABELS)
    assert weighted == pytest.approx(expected)


def test_softmax_of_large_logits() -> None:
    with Graph() as graph:
        p = softmax(constant([123.0, 456.0, 789.0]))
        loss = losses.softmax_cross_entropy(constant([[123.0, 456.0, 789.0]]), constant([0]))
    s = Session(graph, device="cpu", threads=1)
    np.testing.assert_allclose(s.run(p), [0.0, 0.0, 1.0], atol=1e-30)
    assert s.run(loss) == 789.0 - 123.0


def test_sigmoid_cross_entropy() -> None:
    p = scipy.special.expit(LOGITS)
    each = -(ONE_HOT * np.log(p) + (1 - ONE_HOT) * np.log(1 - p))
    assert value(losses.sigmoid_cross_entropy, LOGITS, ONE_HOT) == pytest.approx(each.mean())
    weights = np.array([1.0, 2.0, 4.0])
    weighted = value(lambda x, t: losses.sigmoid_cross_entropy(x, t, class_weights=weights), LOGITS, ONE_HOT)
    assert weighted == pytest.approx((each * weights).mean())
    smooth = value(lambda x, t: losses.sigmoid_cross_entropy(x, t, 0.5), LOGITS, ONE_HOT)
    half = -((0.5 * ONE_HOT + 0.25) * np.log(p) + (0.75 - 0.5 * ONE_HOT) * np.log(1 - p))
    assert smooth == pytest.approx(half.mean())
    assert value(losses.sigmoid_cross_entropy, [[1000.0, -1000.0]], [[1.0, 0.0]]) == 0.0


def test_hellinger() -> None:
    expected = np.sqrt(((np.sqrt(P) - np.sqrt(Q)) ** 2).sum(-1) / 2).mean()
    assert value(losses.hellinger, P, Q) == pytest.approx(expected)
    assert value(losses.hellinger, [[1.0, 0.0]], [[0.0, 1.0]]) == pytest.approx(1.0, rel=1e-5)


def test_itakura_saito() -> None:
    assert value(losses.itakura_saito, P, Q) == pytest.approx((P / Q - np.log(P / Q) - 1).sum(-1).mean())
    assert value(losses.itakura_saito, P, P) == 0.0


@pytest.mark.parametrize("loss", [losses.hellinger, losses.itakura_saito], ids=["hellinger", "itakura_saito"])
def test_the_gradient_at_the_minimum_is_zero(loss: Callable[..., Tensor]) -> None:
    with Graph() as graph:
        p, q = placeholder((None, 3)), placeholder((None, 3))
        (g,) = gradients(loss(p, q), [q])
    feeds = {p: P.astype(np.float32), q: P.astype(np.float32)}
    np.testing.assert_allclose(Session(graph, device="cpu", threads=1).run(g, feeds), 0.0, atol=1e-6)


def test_labels_of_another_shape_are_refused() -> None:
    with Graph(), pytest.raises(ShapeError, match=r"expected equal shapes, got \(2, 3\) and \(2, 2\)"):
        losses.softmax_cross_entropy(constant(LOGITS), constant(ONE_HOT[:, :2]))


def test_the_number_of_classes_must_be_known() -> None:
    with Graph(), pytest.raises(ShapeError, match="the number of classes must be known"):
        losses.softmax_cross_entropy(placeholder((None, None)), constant(LABELS))
