"""Labels that a program gives beside its images: lists, arrays, tensors, columns of tables."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.dataset.task import Task
from models.errors import InputError

_KINDS = (str, bool, int, float)


def given_labels(y: Any, task: Task) -> list[Any]:
    """One label, or number, for each image, as Python's own values.

    One-hot rows (N, C), with a single 1 each, are the number of their column.

    Raises:
        InputError: a label is missing, not finite, no label at all, of another kind than the others, or several.
    """
    values = _rows(y)
    if task == "regression":
        return [_number(value, place) for place, value in enumerate(values)]
    for place, value in enumerate(values):
        if value is None or (isinstance(value, float) and math.isnan(value)) or value == "":
            raise InputError(
                f"the label of image {place} is {value!r}; expected its class. Fill it, or leave both out."
            )
        if not isinstance(value, _KINDS):
            raise InputError(
                f"the label of image {place} is {value!s:.60}, a {type(value).__name__}; expected one class, a text "
                "or a number."
            )
    kinds = {"text" if isinstance(value, str) else "number" for value in values}
    if len(kinds) > 1:
        raise InputError("some labels are texts and others numbers; expected one kind. Make them all texts.")
    return values


def _rows(y: Any) -> list[Any]:
    """What there is for each image: a value, or something that is none."""
    if hasattr(y, "detach"):  # a tensor of PyTorch, perhaps on a GPU
        y = y.detach().cpu().numpy()
    if not isinstance(y, np.ndarray) and hasattr(y, "to_numpy"):
        y = y.to_numpy()
    if not isinstance(y, np.ndarray):
        y = list(y)
        if y and all(isinstance(row, (list, tuple, np.ndarray)) for row in y):
            if len({len(row) for row in y}) > 1:
                return list(y)
            y = np.array([list(row) for row in y])
    if isinstance(y, np.ndarray):
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        return _classes_of(y) if y.ndim == 2 else [_plain(value) for value in y.tolist()]
    return [_plain(value) for value in y]


def _classes_of(rows: NDArray[Any]) -> list[Any]:
    """The columns in which one-hot rows have their 1.

    Raises:
        InputError: rows of another kind.
    """
    one_hot = rows.dtype.kind in "buif" and np.isin(rows, (0, 1)).all() and (rows.sum(axis=1) == 1).all()
    if not one_hot:
        raise InputError(
            f"labels have the shape {rows.shape}, and not a single 1 in each row; expected one label for each "
            "image, or one-hot rows."
        )
    columns: list[int] = rows.argmax(axis=1).tolist()
    return columns


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) or hasattr(value, "detach") else value


def _number(value: Any, place: int) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"the number of image {place} is {value!s:.60}; expected a finite one. Correct it.")
    return number
