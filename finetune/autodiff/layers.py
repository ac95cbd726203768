"""Layers: operations with variables of their own, in a name scope of their own. Images are (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable

from finetune.autodiff.initializers import Initializer, he_normal, ones, xavier_uniform, zeros
from finetune.autodiff.ops import convolution, normalisation
from finetune.autodiff.ops.pooling import avg_pool, global_avg_pool, max_pool
from finetune.autodiff.ops.shape import flatten
from finetune.autodiff.ops.training import dropout
from finetune.autodiff.ops.windows import Padding, Pair, pair
from finetune.autodiff.shapes import known
from finetune.autodiff.tensor import Tensor

__all__ = ["avg_pool", "batch_norm", "conv2d", "dense", "dropout", "flatten", "global_avg_pool", "max_pool"]

Activation = Callable[[Tensor], Tensor]


def dense(
    x: Tensor,
    units: int,
    activation: Activation | None = None,
    *,
    bias: bool = True,
    initializer: Initializer = xavier_uniform,
    trainable: bool = True,
    name: str = "dense",
) -> Tensor:
    """(N, features) -> (N, units): activation(x @ weights + bias)."""
    graph, features = x.graph, known(name, x.shape[-1:])[0]
    with graph.name_scope(name):
        y = x @ graph.variable(initializer, (features, units), name="weights", trainable=trainable)
        if bias:
            y = y + graph.variable(zeros, (units,), name="bias", trainable=trainable)
        return activation(y) if activation else y


def conv2d(
    x: Tensor,
    filters: int,
    kernel: int | Pair,
    activation: Activation | None = None,
    *,
    strides: int | Pair = 1,
    padding: Padding = "SAME",
    dilations: int | Pair = 1,
    groups: int = 1,
    bias: bool = True,
    initializer: Initializer = he_normal,
    trainable: bool = True,
    name: str = "conv2d",
) -> Tensor:
    """(N, C, H, W) -> (N, filters, OH, OW): activation(convolution + bias)."""
    graph, channels = x.graph, known(name, x.shape[1:2])[0]
    shape = (filters, channels // groups, *pair(name, "kernel", kernel))
    with graph.name_scope(name):
        w = graph.variable(initializer, shape, name="weights", trainable=trainable)
        y = convolution.conv2d(x, w, strides, padding, dilations, groups)
        if bias:
            y = y + graph.variable(zeros, (filters,), name="bias", trainable=trainable).reshape(-1, 1, 1)
        return activation(y) if activation else y


def batch_norm(
    x: Tensor, *, epsilon: float = 1e-5, momentum: float = 0.9, frozen: bool = False, name: str = "batch_norm"
) -> Tensor:
    """(N, C, ...) normalised by channel, then scaled and shifted; see `ops.normalisation.batch_norm`.

    `frozen`: nothing of it is trained, and the moving statistics hold in training too.
    """
    graph, size = x.graph, known(name, x.shape[1:2])
    with graph.name_scope(name):
        gamma = graph.variable(ones, size, name="gamma", trainable=not frozen)
        beta = graph.variable(zeros, size, name="beta", trainable=not frozen)
        mean = graph.variable(zeros, size, name="moving_mean", trainable=False)
        variance = graph.variable(ones, size, name="moving_variance", trainable=False)
        if frozen:
            return normalisation.scale_and_shift(x, mean, variance, gamma, beta, epsilon)
        return normalisation.batch_norm(x, gamma, beta, mean, variance, epsilon, momentum)
