"""Operations that do one thing in a training run and another otherwise: dropout, and the choice of statistics."""

from __future__ import annotations

import zlib

from finetune.autodiff.emitter import Emitter
from finetune.autodiff.graph import Operation
from finetune.autodiff.ops.rules import INT64, any_order, require_real, stretched, what
from finetune.autodiff.ops.shape import zeros_like
from finetune.autodiff.program import needed
from finetune.autodiff.registry import Spec, many, register_op
from finetune.autodiff.shapes import show
from finetune.autodiff.tensor import Tensor, apply
from models.errors import GraphError

_PRIME = 2**31 - 1


def _mix(emit: Emitter, x: str, key: str) -> str:
    """(x + key)^5 mod the prime: a permutation of 0 .. prime - 1, since 5 does not divide prime - 1."""
    prime = emit.constant(_PRIME)

    def product(a: str, b: str) -> str:
        return emit.node("Mod", [emit.node("Mul", [a, b]), prime])  # below 2^62: int64 does not overflow

    base = emit.node("Mod", [emit.node("Add", [x, key]), prime])
    square = product(base, base)
    return product(product(square, square), base)


def random_integers(emit: Emitter, name: str, x: str, step: str, rows: str | None = None) -> str:
    """int64 in 0 .. 2^31 - 2, in the shape of x: element i is a function of (graph seed, `name`, step, i).

    `rows`: places in a whole batch of the rows of x, whose elements are then counted as there.

    Two rounds of the block cipher MiMC (Albrecht et al., 2016) over a prime field, with x^5 for its x^3: only
    integer products and remainders, the same on every device.
    """
    key = emit.constant(zlib.crc32(f"{emit.graph.seed}/{name}".encode()) % _PRIME)
    first = _mix(emit, step, key)
    second = _mix(emit, first, key)
    counter = _counter(emit, x, rows)
    mixed = _mix(emit, _mix(emit, counter, first), second)
    return emit.node("Reshape", [mixed, emit.node("Shape", [x])], allowzero=1)


def _counter(emit: Emitter, x: str, rows: str | None) -> str:
    """int64 (size of x,): the number of each of its elements, in the whole batch where x holds `rows` of it."""
    zero, one = emit.constant(0), emit.constant(1)
    size = emit.node("Size", [x])
    if rows is None:
        return emit.node("Range", [zero, size, one])
    # Of one row, which may be several of x: tokens of an image.
    elements = emit.node("Div", [size, emit.node("Max", [emit.node("Size", [rows]), one])])
    first = emit.node("Unsqueeze", [emit.node("Mul", [rows, elements]), emit.constant([1])])
    within = emit.node("Range", [zero, elements, one])
    return emit.node("Reshape", [emit.node("Add", [first, within]), emit.constant([-1])])


def _dropout_shape(op: Operation) -> list[Spec]:
    require_real(op, op.inputs[0])
    if op.inputs[1].dtype != INT64 or op.inputs[1].shape != ():
        raise GraphError(f"{what(op)}: the step {op.inputs[1].name} is not an int64 scalar.")
    return [Spec(op.inputs[0].shape, op.inputs[0].dtype)]


def _dropout_lower(emit: Emitter, op: Operation, x: str, step: str, rows: str | None = None) -> str:
    rate, name = op.attrs["rate"], op.attrs["source"] or op.name
    if not emit.training or rate == 0.0:
        return x
    if ("dropout", name) not in emit.memo:
        drawn = random_integers(emit, name, x, step, rows)
        kept = emit.node("Less", [drawn, emit.constant(round((1.0 - rate) * _PRIME))])
        emit.memo["dropout", name] = emit.node("Where", [kept, emit.real(1.0 / (1.0 - rate)), emit.real(0.0)])
    return emit.node("Mul", [x, emit.memo["dropout", name]])


def _dropout_gradients(op: Operation, g: Tensor) -> list[Tensor | None]:
    """Linear, with a diagonal matrix: the gradient drops the same elements."""
    source = op.attrs["source"] or op.name
    return [
        apply("dropout", [g, *op.inputs[1:]], rate=op.attrs["rate"], source=source),
        *[None] * (len(op.inputs) - 1),
    ]


register_op(
    "dropout",
    shape=_dropout_shape,
    lower=_dropout_lower,
    gradient=many(_dropout_gradients),
)


def dropout(x: Tensor, rate: float, name: str | None = None) -> Tensor:
    """In training, each element is 0 with probability `rate` and divided by 1 - rate otherwise; else x.

    Which elements is a function of (the graph's seed, the operation's name, the graph's step), so a run that was
    stopped and restored drops the same ones, and where a run sees a part of a batch (`Graph.rows`) it drops what a run
    of the whole one does. Source: Srivastava et al. (2014).

    Raises:
        GraphError: `rate` is not in [0, 1), or the rows of a part of a batch are not its first axis.
    """
    if not 0.0 <= rate < 1.0:
        raise GraphError(f"dropout: rate={rate}; expected 0 <= rate < 1, the part that is dropped.")
    return apply("dropout", [x, x.graph.step, *_rows_of(x)], name, rate=float(rate), source=None)


def _rows_of(x: Tensor) -> list[Tensor]:
    """What says where the rows of `x` stand in the whole batch, where runs see parts of it and `x` is of the batch."""
    rows = x.graph.rows
    if rows is None or not any(_is_batch(op) for op in needed([x], ())):
        return []
    if x.rank == 0 or (x.shape[0] is not None and None in x.shape):
        raise GraphError(
            f"dropout: {x.name} is {show(x.shape)}; expected the images of the batch as its first axis, for runs see "
            "parts of it (graph.rows) and would drop other elements than in the whole. Transpose it before and after."
        )
    return [rows]


def _is_batch(op: Operation) -> bool:
    return op.type == "placeholder" and op.attrs["shape"][:1] == (None,)


register_op(
    "in_training",
    shape=stretched,
    lower=lambda emit, op, training, otherwise: training if emit.training else otherwise,
    gradient=(
        lambda op, g: apply("in_training", [g, zeros_like(g)]),
        lambda op, g: apply("in_training", [zeros_like(g), g]),
    ),
    permute=any_order,
)


def in_training(training: Tensor, otherwise: Tensor) -> Tensor:
    """The first in a training run, the second in any other; both of one shape.

    Raises:
        GraphError: their shapes differ.
    """
    if training.shape != otherwise.shape:
        shapes = f"{show(training.shape)} and {show(otherwise.shape)}"
        raise GraphError(f"in_training: {training.name} and {otherwise.name} differ in shape: {shapes}.")
    return apply("in_training", [training, otherwise])
