"""Static shapes: tuples of sizes, `None` where a size is known only when the graph runs.

`None` in the first place is the batch: one number per run. An unknown size is never stretched: where two meet,
they must be equal when the graph runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from models.errors import ShapeError

Shape = tuple[int | None, ...]


def show(shape: Shape) -> str:
    """`(?, 28, 28)`: how a shape is printed in messages."""
    return "(" + ", ".join("?" if size is None else str(size) for size in shape) + ")"


def broadcast(what: str, *shapes: Shape) -> Shape:
    """The shape to which all of `shapes` stretch, by NumPy's rules.

    Raises:
        ShapeError: they do not fit. `what` names the operation in the message.
    """
    rank = max(len(shape) for shape in shapes)
    columns = zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True)
    result = []
    for column in columns:
        sizes = {size for size in column if size != 1}
        if len(sizes) > 1:
            raise ShapeError(
                f"{what}: shapes {' and '.join(show(s) for s in shapes)} do not fit together. Expected sizes that "
                "are equal or 1, counted from the last axis; an unknown size (?) fits only itself and 1. "
                "Reshape one of them."
            )
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def merge(what: str, *shapes: Shape) -> Shape:
    """The shape that all of `shapes` are said to have, with unknown sizes filled in.

    Raises:
        ShapeError: two of them differ.
    """
    merged: list[int | None] = list(shapes[0])
    for shape in shapes[1:]:
        if len(shape) != len(merged) or any(
            a is not None and b is not None and a != b for a, b in zip(merged, shape, strict=True)
        ):
            raise ShapeError(f"{what}: expected equal shapes, got {' and '.join(show(s) for s in shapes)}.")
        merged = [b if a is None else a for a, b in zip(merged, shape, strict=True)]
    return tuple(merged)


def count(shape: Sequence[int | None]) -> int | None:
    """Number of elements, None when a size is unknown."""
    return None if None in shape else math.prod(size for size in shape if size is not None)


def known(what: str, shape: Sequence[int | None]) -> tuple[int, ...]:
    """`shape` when all of it is known.

    Raises:
        ShapeError: a size is unknown.
    """
    sizes = tuple(size for size in shape if size is not None)
    if len(sizes) != len(shape):
        raise ShapeError(
            f"{what}: needs known sizes, got {show(tuple(shape))}. Only the batch may be unknown (?)."
        )
    return sizes


def normal_axis(what: str, axis: int, rank: int) -> int:
    """`axis` counted from the front.

    Raises:
        ShapeError: there is no such axis.
    """
    if not -rank <= axis < rank:
        raise ShapeError(f"{what}: axis {axis} does not exist in a tensor of rank {rank}.")
    return axis % rank


def normal_axes(what: str, axes: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """`axes` counted from the front, sorted; None means all of them.

    Raises:
        ShapeError: an axis does not exist or stands there twice.
    """
    if axes is None:
        return tuple(range(rank))
    positive = sorted(normal_axis(what, a, rank) for a in ([axes] if isinstance(axes, int) else axes))
    if len(set(positive)) != len(positive):
        raise ShapeError(f"{what}: axes {tuple(positive)} name one axis twice.")
    return tuple(positive)
