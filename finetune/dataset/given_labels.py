"""Labels that a program gives beside its images: lists, arrays, tensors, columns of tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_extraction.items import ImageItem
from finetune.dataset.examples import Dataset, Example
from finetune.dataset.label_cells import combination
from finetune.dataset.targets import target_in
from finetune.dataset.task import Task
from models.errors import InputError
from models.wording import composed

_KINDS = (str, bool, int, float)
_ALIKE = 20  # images that are looked at to tell lists of labels from rows of a matrix


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


def given_label_sets(y: Any) -> tuple[list[tuple[Any, ...]], tuple[Any, ...] | None]:
    """The labels that hold on each image, and of a matrix (N, labels) of 0 and 1 what its columns are called.

    A list has a list, tuple or set of labels for each image, and no columns (None). A matrix is an array, a tensor, a
    table or a sparse matrix; columns that have no names are numbered.

    Raises:
        InputError: a label that is missing, of another kind than the others, or no list of them; other numbers than 0
            and 1; or lists that may be either.
    """
    named = tuple(y.columns) if hasattr(y, "columns") else None
    if hasattr(y, "toarray"):  # a sparse matrix
        y = y.toarray()
    if hasattr(y, "detach"):
        y = y.detach().cpu().numpy()
    if not isinstance(y, np.ndarray) and hasattr(y, "to_numpy"):
        y = y.to_numpy()
    if isinstance(y, np.ndarray) and y.ndim == 2:
        return _sets_of(y, named)
    values = list(y)
    sets = [_label_set(value, place) for place, value in enumerate(values)]
    kinds = {"text" if isinstance(one, str) else "number" for labels in sets for one in labels}
    if len(kinds) > 1:
        raise InputError("some labels are texts and others numbers; expected one kind. Make them all texts.")
    if kinds == {"number"} and _like_a_matrix(values):
        raise InputError(
            "labels are lists of 0 and 1 of one length, which may be the labels 0 and 1, or a column for each label. "
            "Give np.array(y) for columns, or texts as labels."
        )
    return sets, None


def labelled_images(items: Sequence[ImageItem], y: Any) -> tuple[Dataset, dict[str, Any]]:
    """Images with the labels that hold on each, and the caller's own label behind each name.

    Raises:
        InputError: as `given_label_sets`, another number of images, or not one label.
    """
    sets, columns = given_label_sets(y)
    if len(items) != len(sets):
        raise InputError(
            f"{len(items)} images have labels for {len(sets)}; expected a list of labels for each."
        )
    own = columns or sorted({label for labels in sets for label in labels}, key=str)
    names = {composed(str(label)): label for label in own}
    used = {composed(str(label)) for labels in sets for label in labels}
    if not used:
        raise InputError("no image has a label; expected some. Give for each image those that hold.")
    examples = []
    for item, labels in zip(items, sets, strict=True):
        holding = tuple(sorted({composed(str(label)) for label in labels}))
        examples.append(Example(item, combination(holding), holding=holding))
    classes = tuple(sorted(used))
    return Dataset("images", "multilabel", tuple(examples), classes), {name: names[name] for name in classes}


def _sets_of(
    rows: NDArray[Any], named: tuple[Any, ...] | None
) -> tuple[list[tuple[Any, ...]], tuple[Any, ...]]:
    """The columns that have a 1 in each row."""
    if rows.dtype.kind not in "buifO" or not np.isin(rows, (0, 1)).all():
        raise InputError(
            f"labels have the shape {rows.shape}, and hold more than 0 and 1; expected a column for each label, "
            "with 1 where it holds."
        )
    columns = tuple(range(rows.shape[1])) if named is None else named
    table = rows.astype(bool)
    return [tuple(columns[i] for i in np.flatnonzero(row)) for row in table], columns


def _label_set(value: Any, place: int) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        raise InputError(
            f"the labels of image {place} are {value!r:.60}; expected a list of them, such as ['hat', 'red'], or [] "
            "where none holds."
        )
    labels = [_plain(one) for one in value]
    for label in labels:
        if not isinstance(label, (str, int)) or label == "":
            raise InputError(
                f"image {place} has the label {label!r:.60}; expected a text or a whole number. Leave it out where it "
                "is missing."
            )
    ordered = sorted(labels, key=str) if isinstance(value, (set, frozenset)) else labels
    return tuple(dict.fromkeys(ordered))


def _like_a_matrix(values: list[Any]) -> bool:
    """Whether lists of labels may as well be rows of 0 and 1."""
    first = [list(value) for value in values[:_ALIKE]]
    lengths = {len(value) for value in values}
    return len(lengths) == 1 and lengths != {1} and all(one in (0, 1) for row in first for one in row)


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
    number = target_in(value)
    if number is None:
        raise InputError(
            f"the number of image {place} is {value!s:.60}; expected a finite one of 32 bits. Correct it."
        )
    return number
