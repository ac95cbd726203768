"""Matrix products."""

from __future__ import annotations

from finetune.autodiff.emitter import Emitter, register_lowering
from finetune.autodiff.graph import Operation
from finetune.autodiff.ops.rules import onnx_node, require_one_dtype, require_real, what
from finetune.autodiff.ops.shape import transpose
from finetune.autodiff.registry import Spec, register_op
from finetune.autodiff.shapes import broadcast, show
from finetune.autodiff.tensor import Tensor, TensorLike, apply
from models.errors import ShapeError


def _matmul_shape(op: Operation) -> list[Spec]:
    a, b = op.inputs
    require_real(op, a, b)
    require_one_dtype(op, [a, b])
    if a.rank < 2 or b.rank < 2 or a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"{what(op)}: {show(a.shape)} @ {show(b.shape)} does not fit: expected (..., m, k) @ (..., k, n)."
        )
    batch = broadcast(what(op), a.shape[:-2], b.shape[:-2]) if a.rank + b.rank > 4 else ()
    return [Spec((*batch, a.shape[-2], b.shape[-1]), a.dtype)]


def _flip(x: Tensor) -> Tensor:
    """The last two axes exchanged."""
    return transpose(x, (*range(x.rank - 2), x.rank - 1, x.rank - 2))


register_op(
    "matmul",
    shape=_matmul_shape,
    lower=onnx_node("MatMul"),
    gradient=(lambda op, g: g @ _flip(op.inputs[1]), lambda op, g: _flip(op.inputs[0]) @ g),
)


@register_lowering("matmul")
def _gemm(emit: Emitter, op: Operation) -> bool:
    """Two matrices are multiplied as they lie, transposed or not."""
    if any(t.rank != 2 for t in op.inputs):
        return False
    orders = [emit.order(t) for t in op.inputs]
    names = [emit.read(t, order) for t, order in zip(op.inputs, orders, strict=True)]
    flipped = [int(order == (1, 0)) for order in orders]
    emit.bind(op.output, emit.node("Gemm", names, transA=flipped[0], transB=flipped[1]))
    return True


def matmul(a: TensorLike, b: TensorLike) -> Tensor:
    """(..., m, k) @ (..., k, n) -> (..., m, n); leading axes stretch."""
    return apply("matmul", [a, b])
