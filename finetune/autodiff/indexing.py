"""What stands between brackets: `x[key]` taken apart into slices, axes that go and axes that come."""

from __future__ import annotations

from typing import Any

import numpy as np

from finetune.autodiff.shapes import Shape, normal_axis, show
from models.errors import GraphError, ShapeError

Bounds = tuple[int | None, int | None, int]  # start, stop, step of one axis, as in Python's slices
WHOLE: Bounds = (None, None, 1)


def read_key(
    name: str, shape: Shape, key: Any
) -> tuple[tuple[Bounds, ...], tuple[int, ...], tuple[int, ...]]:
    """Bounds of each axis, the axes to drop of what they leave, and the axes to put in last; see `Tensor.__getitem__`.

    Raises:
        GraphError: something else than numbers, slices, `...` and None.
        ShapeError: too many of them, or a number outside of its axis. `name` names the tensor.
    """
    keys = list(key) if isinstance(key, tuple) else [key]
    used = sum(k is not None and k is not Ellipsis for k in keys)
    if used > len(shape) or sum(k is Ellipsis for k in keys) > 1:
        raise ShapeError(f"{name}[...]: {used} positions for {len(shape)} axes {show(shape)}.")
    middle = next((i for i, k in enumerate(keys) if k is Ellipsis), len(keys))
    keys[middle : middle + 1] = [slice(None)] * (len(shape) - used)
    bounds: list[Bounds] = []
    dropped: list[int] = []
    added: list[int] = []
    for k in keys:
        axis = len(bounds)
        if k is None:
            added.append(axis - len(dropped) + len(added))
        elif isinstance(k, slice):
            bounds.append((k.start, k.stop, 1 if k.step is None else k.step))
        elif isinstance(k, int | np.integer):
            if shape[axis] is not None:
                normal_axis(f"{name}[{k}], index", int(k), shape[axis] or 0)
            bounds.append((int(k), None if k == -1 else int(k) + 1, 1))
            dropped.append(axis)
        else:
            raise GraphError(
                f"{name}[{k!r}]: expected numbers, slices, ... or None. For a tensor use gather."
            )
    return tuple(bounds), tuple(dropped), tuple(added)
