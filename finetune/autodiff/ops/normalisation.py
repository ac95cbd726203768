"""Normalisation by batch, layer and group, built from other operations: it has gradients of any order."""

from __future__ import annotations

import math
from collections.abc import Sequence

from finetune.autodiff.ops.elementwise import sqrt, square
from finetune.autodiff.ops.reductions import element_count, reduce_mean
from finetune.autodiff.ops.shape import reshape, reshape_like, unsqueeze
from finetune.autodiff.ops.training import in_training
from finetune.autodiff.shapes import known
from finetune.autodiff.tensor import Tensor, Variable
from models.errors import ShapeError


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


def layer_norm(
    x: Tensor, axes: Sequence[int], gamma: Tensor | None, beta: Tensor | None, epsilon: float = 1e-5
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) gamma + beta over `axes`, to which gamma and beta stretch.

    Source: Ba et al. (2016).
    """
    centred = x - reduce_mean(x, axes, keepdims=True)
    y = centred / sqrt(reduce_mean(square(centred), axes, keepdims=True) + epsilon)
    y = y if gamma is None else y * gamma
    return y if beta is None else y + beta


def group_norm(x: Tensor, groups: int, gamma: Tensor, beta: Tensor, epsilon: float = 1e-5) -> Tensor:
    """(N, C, ...) normalised over positions and the channels of a group; gamma and beta are (C,) or (groups,).

    With one channel a group it is instance normalisation. Source: Wu and He (2018).

    Raises:
        ShapeError: the groups do not divide the channels.
    """
    channels, *places = known("group_norm", x.shape[1:])
    if groups < 1 or channels % groups:
        raise ShapeError(f"group_norm: {groups} groups do not divide the {channels} channels of {x.name}.")
    apart = reshape(x, (-1, groups, channels // groups * math.prod(places)))
    y = layer_norm(apart, (2,), None, None, epsilon)
    if gamma.shape == (groups,) and groups != channels:
        return reshape_like(y * unsqueeze(gamma, 1) + unsqueeze(beta, 1), x)
    return reshape_like(y, x) * _channels(gamma, x) + _channels(beta, x)


def _channels(vector: Tensor, x: Tensor) -> Tensor:
    """(C,) as (C, 1, 1), so that it stretches along the channels of x."""
    return vector.reshape(-1, *[1] * (x.rank - 2)) if x.rank > 2 else vector
