"""Losses: scalars, the mean over the batch. Labels are distributions (N, classes), or integers (N,)."""

from __future__ import annotations

from collections.abc import Sequence

from finetune.autodiff.ops.activations import softplus
from finetune.autodiff.ops.elementwise import log, maximum, sqrt, square
from finetune.autodiff.ops.reductions import reduce_mean, reduce_sum
from finetune.autodiff.ops.slicing import one_hot
from finetune.autodiff.ops.softmax import softmax_cross_entropy_with_logits
from finetune.autodiff.tensor import Tensor, TensorLike
from models.errors import ShapeError

_TINY = 1e-12  # below this a probability counts as this, so that roots and logarithms have gradients


def mean_squared_error(predictions: Tensor, targets: TensorLike) -> Tensor:
    """Mean of (prediction - target)^2 over all elements."""
    return reduce_mean(square(predictions - targets))


def softmax_cross_entropy(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None
) -> Tensor:
    """Cross-entropy in nats between softmax of (N, classes) logits and labels.

    `label_smoothing`: this part of each label is spread evenly over all classes (Szegedy et al., 2015).
    `class_weights`: how much an example of each class counts; the result is the mean weighted with them.

    Raises:
        ShapeError: labels of another shape.
    """
    targets = _distributions(logits, labels)
    weights = _example_weights(targets, class_weights)
    if label_smoothing:
        targets = (1.0 - label_smoothing) * targets + label_smoothing / _classes(logits)
    return _weighted_mean(softmax_cross_entropy_with_logits(logits, targets), weights)


def sigmoid_cross_entropy(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None
) -> Tensor:
    """Mean cross-entropy in nats of (N, classes) independent yes-or-no labels, from logits.

    `label_smoothing` pulls labels this far towards 1/2; `class_weights` multiplies the columns.
    """
    targets = _distributions(logits, labels)
    if label_smoothing:
        targets = (1.0 - label_smoothing) * targets + 0.5 * label_smoothing
    losses = softplus(logits) - logits * targets  # -t log s(x) - (1 - t) log(1 - s(x))
    return reduce_mean(losses if class_weights is None else losses * [float(w) for w in class_weights])


def hellinger(p: Tensor, q: Tensor) -> Tensor:
    """Mean Hellinger distance sqrt(sum((sqrt p - sqrt q)^2) / 2), 0 to 1, of (N, classes) distributions.

    The gradient is 0 where p = q, and where a probability is under 1e-12.
    """
    difference = sqrt(maximum(p, _TINY)) - sqrt(maximum(q, _TINY))
    return reduce_mean(sqrt(maximum(0.5 * reduce_sum(square(difference), -1), _TINY)))


def itakura_saito(p: Tensor, q: Tensor) -> Tensor:
    """Mean over the batch of sum(p/q - log(p/q) - 1) over the last axis, for positive spectra p (true) and q (ours).

    Source: Itakura and Saito (1968).
    """
    ratio = p / q
    return reduce_mean(reduce_sum(ratio - log(ratio) - 1.0, -1))


def _classes(logits: Tensor) -> int:
    size = logits.shape[-1]
    if size is None:
        raise ShapeError(f"{logits.name}: the number of classes must be known, got {logits.shape}.")
    return size


def _distributions(logits: Tensor, labels: Tensor) -> Tensor:
    return labels if labels.is_real else one_hot(labels, _classes(logits))


def _example_weights(targets: Tensor, class_weights: Sequence[float] | None) -> Tensor | None:
    return None if class_weights is None else reduce_sum(targets * [float(w) for w in class_weights], -1)


def _weighted_mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    return reduce_mean(losses) if weights is None else reduce_sum(losses * weights) / reduce_sum(weights)
