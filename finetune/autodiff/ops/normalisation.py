"""Batch normalisation, built from other operations, so that it has gradients of any order in either mode."""

from __future__ import annotations

from finetune.autodiff.ops.elementwise import sqrt, square
from finetune.autodiff.ops.reductions import element_count, reduce_mean
from finetune.autodiff.ops.training import in_training
from finetune.autodiff.tensor import Tensor, Variable


def scale_and_shift(
    x: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) gamma + beta, of channels x.shape[1]; the others are (C,).

    Written as x scale + shift: with frozen statistics, two constants that onnxruntime folds into a convolution.
    """
    scale = gamma / sqrt(variance + epsilon)
    shift = beta - mean * scale
    return x * _channels(scale, x) + _channels(shift, x)


def batch_norm(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    moving_mean: Variable,
    moving_variance: Variable,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
) -> Tensor:
    """(N, C, ...) normalised by channel: with the batch's statistics in training, with the moving ones otherwise.

    A training step through the result moves the statistics: moving <- momentum moving + (1 - momentum) batch, the
    variance with n - 1 in the denominator. Source: Ioffe and Szegedy (2015); the details as in PyTorch.
    """
    axes = (0, *range(2, x.rank))
    mean = reduce_mean(x, axes)
    variance = reduce_mean(square(x - _channels(mean, x)), axes)
    n = element_count(x, axes)
    for moving, now in ((moving_mean, mean), (moving_variance, variance * (n / (n - 1.0)))):
        update = moving.assign(momentum * moving + (1.0 - momentum) * now)
        x.graph.updates.append((update, mean.op))
    return scale_and_shift(
        x, in_training(mean, moving_mean), in_training(variance, moving_variance), gamma, beta, epsilon
    )


def _channels(vector: Tensor, x: Tensor) -> Tensor:
    """(C,) as (C, 1, 1), so that it stretches along the channels of x."""
    return vector.reshape(-1, *[1] * (x.rank - 2)) if x.rank > 2 else vector
