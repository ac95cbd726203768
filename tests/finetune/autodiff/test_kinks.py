"""Kinks and ties: where a derivative does not exist, what was decided is what happens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from finetune.autodiff import Graph, Session, Tensor, gradients, placeholder
from finetune.autodiff.ops.activations import clip, elu, leaky_relu, relu
from finetune.autodiff.ops.elementwise import absolute, maximum, minimum
from finetune.autodiff.ops.pooling import max_pool
from finetune.autodiff.ops.reductions import reduce_max, reduce_min


def slope(function: Callable[..., Tensor], *values: object) -> list[np.ndarray]:
    """Gradients of the sum of function(*values)."""
    arrays = [np.asarray(v, np.float32) for v in values]
    with Graph() as graph:
        xs = [placeholder(a.shape) for a in arrays]
        grads = gradients(function(*xs).sum(), xs)
    return Session(graph, device="cpu", threads=1).run(grads, dict(zip(xs, arrays, strict=True)))


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        pytest.param(relu, [[-1.0, 0.0, 1.0]], [[0, 0, 1]], id="relu at 0 gives nothing"),
        pytest.param(
            lambda x: clip(x, 0, 6), [[0.0, 3.0, 6.0]], [[0, 1, 0]], id="clip at its bounds gives nothing"
        ),
        pytest.param(absolute, [[-1.0, 0.0, 1.0]], [[-1, 0, 1]], id="abs at 0 is flat"),
        pytest.param(
            lambda x: leaky_relu(x, 0.25), [[0.0]], [[0.25]], id="leaky_relu at 0 takes the left side"
        ),
        pytest.param(lambda x: elu(x, 0.5), [[0.0]], [[0.5]], id="elu at 0 takes the left side"),
        pytest.param(maximum, [[1.0, 2.0], [1.0, 0.0]], [[0.5, 1], [0.5, 0]], id="maximum halves a tie"),
        pytest.param(minimum, [[1.0, 2.0], [1.0, 0.0]], [[0.5, 0], [0.5, 1]], id="minimum halves a tie"),
        pytest.param(reduce_max, [[2.0, 2.0, 1.0]], [[0.5, 0.5, 0]], id="max shares a tie"),
        pytest.param(reduce_min, [[1.0, 1.0, 1.0, 1.0]], [[0.25] * 4], id="min shares a tie"),
        pytest.param(
            lambda x: max_pool(x, 2),
            [np.ones((1, 1, 2, 2))],
            [[[[[1, 0], [0, 0]]]]],
            id="max_pool takes the first",
        ),
        pytest.param(lambda x: x**2, [[0.0, -1.0]], [[0, -2]], id="square of zero and of a negative number"),
        pytest.param(lambda a, b: a**b, [[0.0], [2.0]], [[0], [0]], id="power of zero"),
    ],
)
def test_kink(function: Callable[..., Tensor], values: list[object], expected: list[object]) -> None:
    for got, want in zip(slope(function, *values), expected, strict=True):
        np.testing.assert_array_equal(got, want)
