"""Softmax and the cross-entropy that is computed from logits, without overflow and without log(0)."""

from __future__ import annotations

from finetune.autodiff.emitter import Emitter
from finetune.autodiff.graph import Operation
from finetune.autodiff.ops.elementwise import exp
from finetune.autodiff.ops.reductions import reduce_sum
from finetune.autodiff.ops.rules import INT64, real_like_first, require_one_dtype, require_real, what
from finetune.autodiff.ops.shape import unsqueeze
from finetune.autodiff.registry import Spec, many, register_op
from finetune.autodiff.shapes import merge, normal_axis
from finetune.autodiff.tensor import Tensor, apply


def _softmax_gradient(op: Operation, g: Tensor) -> Tensor:
    weighted = g * op.output
    return weighted - op.output * reduce_sum(weighted, op.attrs["axis"], keepdims=True)


def _log_softmax_gradient(op: Operation, g: Tensor) -> Tensor:
    return g - exp(op.output) * reduce_sum(g, op.attrs["axis"], keepdims=True)


register_op(
    "softmax",
    shape=real_like_first,
    lower=lambda emit, op, x: emit.node("Softmax", [x], axis=op.attrs["axis"]),
    gradient=_softmax_gradient,
)
register_op(
    "log_softmax",
    shape=real_like_first,
    lower=lambda emit, op, x: emit.node("LogSoftmax", [x], axis=op.attrs["axis"]),
    gradient=_log_softmax_gradient,
)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along `axis`; the maximum is subtracted first, so large logits do not overflow."""
    return apply("softmax", [x], axis=normal_axis("softmax", axis, x.rank))


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Logarithm of softmax, finite for all finite logits."""
    return apply("log_softmax", [x], axis=normal_axis("log_softmax", axis, x.rank))


def _cross_entropy_shape(op: Operation) -> list[Spec]:
    logits, labels = op.inputs
    require_real(op, logits, labels)
    require_one_dtype(op, op.inputs)
    shape = merge(what(op), logits.shape, labels.shape)
    return [Spec(shape[:-1], logits.dtype), Spec(shape, logits.dtype)]


def _cross_entropy_lower(emit: Emitter, op: Operation, logits: str, labels: str) -> list[str]:
    logs = emit.node("LogSoftmax", [logits], axis=-1)
    # Counted from the front: with an empty batch, onnxruntime 1.31 reduces nothing along axis -1.
    last = emit.constant([op.inputs[0].rank - 1], INT64)
    total = emit.node("ReduceSum", [emit.node("Mul", [labels, logs]), last], keepdims=0)
    return [emit.node("Neg", [total]), logs]


def _cross_entropy_gradient(op: Operation, g: Tensor | None, g_logs: Tensor | None) -> list[Tensor | None]:
    """For the loss: softmax - labels (times the sum of the labels, which is 1 where they are probabilities)."""
    labels, logs = op.inputs[1], op.outputs[1]
    by_logs, for_labels = g_logs, None
    if g is not None:
        wide = unsqueeze(g, g.rank)
        for_labels = -wide * logs
        by_loss = -wide * labels
        by_logs = by_loss if by_logs is None else by_logs + by_loss
    assert by_logs is not None
    return [by_logs - exp(logs) * reduce_sum(by_logs, -1, keepdims=True), for_labels]


register_op(
    "softmax_cross_entropy",
    shape=_cross_entropy_shape,
    lower=_cross_entropy_lower,
    gradient=many(_cross_entropy_gradient),
)


def softmax_cross_entropy_with_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """(..., classes) logits and label distributions -> (...) cross-entropies in nats."""
    return apply("softmax_cross_entropy", [logits, labels])
