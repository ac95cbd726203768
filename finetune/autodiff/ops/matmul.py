"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters

from finetune.autodiff.emitter import Emitter, register_lowering
from finetune.autodiff.graph import Operation
from finetune.autodiff.ops.reductions import reduce_sum
from finetune.autodiff.ops.rules import onnx_node, require_one_dtype, require_real, what
from finetune.autodiff.ops.shape import reshape, transpose
from finetune.autodiff.registry import Spec, register_op
from finetune.autodiff.shapes import broadcast, count, show
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


def einsum(equation: str, *xs: Tensor) -> Tensor:
    """Products and sums by letters, as in NumPy: "nqd,nkd->nqk". An ellipsis stands for the same axes everywhere.

    Raises:
        ShapeError: letters that do not fit the shapes, or one that stands twice in one term.
    """
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(xs):
        raise ShapeError(f"einsum: {equation!r} has {len(terms)} terms; there are {len(xs)} tensors.")
    spread = max(
        (x.rank - len(t.replace("...", "")) for t, x in zip(terms, xs, strict=True) if "..." in t), default=0
    )
    wide = "".join(letter for letter in ascii_letters if letter not in equation)[:spread]
    terms = [
        term.replace("...", wide[spread - (x.rank - len(term.replace("...", ""))) :])
        for term, x in zip(terms, xs, strict=True)
    ]
    every = "".join(terms)
    once = "".join(sorted(letter for letter in set(every) - set(wide) if every.count(letter) == 1))
    result = result.replace("...", wide) if arrow else wide + once
    for term, x in zip(terms, xs, strict=True):
        if len(term) != x.rank or len(set(term)) != len(term) or not set(result) <= set(every):
            raise ShapeError(f"einsum: {equation!r} does not fit {x.name} {show(x.shape)}.")
    term, y = terms[0], xs[0]
    for i, (other, x) in enumerate(zip(terms[1:], xs[1:], strict=True), 1):
        later = set(result).union(*terms[i + 1 :])
        term, y = _contracted(term, y, other, x, later)
    y = reduce_sum(y, [i for i, letter in enumerate(term) if letter not in result])
    term = "".join(letter for letter in term if letter in result)
    return transpose(y, [term.index(letter) for letter in result])


def _contracted(left: str, a: Tensor, right: str, b: Tensor, kept: set[str]) -> tuple[str, Tensor]:
    """The product of two terms, summed over the letters that nobody reads later, as one matrix product."""
    a = reduce_sum(a, [i for i, letter in enumerate(left) if letter not in kept | set(right)])
    left = "".join(letter for letter in left if letter in kept | set(right))
    b = reduce_sum(b, [i for i, letter in enumerate(right) if letter not in kept | set(left)])
    right = "".join(letter for letter in right if letter in kept | set(left))
    both = [letter for letter in left if letter in right and letter in kept]
    summed = [letter for letter in left if letter in right and letter not in kept]
    rows, columns = ([x for x in one if x not in other] for one, other in ((left, right), (right, left)))
    sizes = {**dict(zip(right, b.shape, strict=True)), **dict(zip(left, a.shape, strict=True))}
    first = transpose(a, [left.index(letter) for letter in (*both, *rows, *summed)])
    second = transpose(b, [right.index(letter) for letter in (*both, *summed, *columns)])
    product = matmul(
        _merged(first, len(both), [sizes[x] for x in rows], [sizes[x] for x in summed]),
        _merged(second, len(both), [sizes[x] for x in summed], [sizes[x] for x in columns]),
    )
    shape = [sizes[letter] for letter in (*both, *rows, *columns)]
    return "".join((*both, *rows, *columns)), reshape(
        product, [-1 if size is None else size for size in shape]
    )


def _merged(x: Tensor, leading: int, first: Sequence[int | None], second: Sequence[int | None]) -> Tensor:
    """(leading..., first..., second...) as (leading..., first, second), a stack of matrices."""
    sides = [count(first), count(second)]
    return reshape(x, [-1 if size is None else size for size in (*x.shape[:leading], *sides)])
