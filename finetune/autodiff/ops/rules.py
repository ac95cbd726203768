"""What operations have in common: shape rules, ways to lower, and what a change of the order of axes does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from finetune.autodiff.emitter import Emitter, Order
from finetune.autodiff.graph import Operation
from finetune.autodiff.registry import Permuted, Spec
from finetune.autodiff.shapes import broadcast
from finetune.autodiff.tensor import Tensor
from models.errors import GraphError

BOOL = np.dtype(np.bool_)
INT64 = np.dtype(np.int64)


def what(op: Operation) -> str:
    """How messages name an operation: `dense/add (add)`."""
    return f"{op.name} ({op.type})"


def same_as_first(op: Operation) -> Sequence[Spec]:
    """The output is like the first input."""
    return [Spec(op.inputs[0].shape, op.inputs[0].dtype)]


def real_like_first(op: Operation) -> Sequence[Spec]:
    """The output is like the first input, which holds real numbers."""
    require_real(op, op.inputs[0])
    return same_as_first(op)


def stretched(op: Operation) -> Sequence[Spec]:
    """All inputs stretch to one shape; they have one dtype."""
    require_one_dtype(op, op.inputs)
    return [Spec(broadcast(what(op), *(t.shape for t in op.inputs)), op.inputs[0].dtype)]


def truth(op: Operation) -> Sequence[Spec]:
    """Like `stretched`, with booleans as the result."""
    return [Spec(stretched(op)[0].shape, BOOL)]


def require_one_dtype(op: Operation, tensors: Sequence[Tensor]) -> None:
    """All `tensors` have one dtype.

    Raises:
        GraphError: they have not.
    """
    if len({t.dtype for t in tensors}) > 1:
        kinds = " and ".join(f"{t.name} {t.dtype}" for t in tensors)
        raise GraphError(f"{what(op)}: expected one dtype, got {kinds}. Use cast(...).")


def require_real(op: Operation, *tensors: Tensor) -> None:
    """All `tensors` hold real numbers.

    Raises:
        GraphError: one does not.
    """
    for tensor in tensors:
        if not tensor.is_real:
            raise GraphError(
                f"{what(op)}: expected real numbers, {tensor.name} holds {tensor.dtype}. Use cast(...)."
            )


def require_integer(op: Operation, tensor: Tensor) -> None:
    """`tensor` holds int64 or int32.

    Raises:
        GraphError: it does not.
    """
    if tensor.dtype not in (INT64, np.dtype(np.int32)):
        raise GraphError(
            f"{what(op)}: expected int64 or int32, {tensor.name} holds {tensor.dtype}. Use cast(...)."
        )


def onnx_node(op_type: str, **attrs: Any) -> Callable[..., str]:
    """Lower to one ONNX node with fixed attributes."""

    def lower(emit: Emitter, op: Operation, *names: str) -> str:
        return emit.node(op_type, names, **attrs)

    return lower


def any_order(op: Operation, order: Order) -> Permuted:
    """Elementwise: the order of the axes is all the same."""
    return Permuted(op.attrs, order)
