"""Labels that a program gives beside its images: lists, arrays, tensors, columns of tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_extraction.items import ImageItem
from feature_extraction.tables import is_missing
from finetune.dataset.columns import MISSING
from finetune.dataset.doubts import label_doubts
from finetune.dataset.examples import Dataset, Example
from finetune.dataset.label_cells import combination
from finetune.dataset.targets import target_in
from finetune.dataset.task import Task
from models.errors import InputError
from models.wording import composed, listed

_KINDS = (str, bool, int, float)
_MIXED = "some labels are texts and others numbers; expected one kind. Make them all texts."
_ALIKE = 20  # images that are looked at to tell lists of labels from rows of a matrix


def given_labels(y: Any, task: Task) -> list[Any]:
    """One label, or number, for each image, as Python's own values.

    One-hot rows (N, C), with a single 1 each, are the number of their column.

    Raises:
        InputError: a label is missing, not finite, no label at all, of another kind than the others, or several.
    """
    if isinstance(y, (str, bytes, Mapping, Set)) or getattr(y, "ndim", 1) == 0:
        raise InputError(
            f"labels are a {type(y).__name__}; expected a list with one for each image, in their order."
        )
    values = _rows(y)
    if task == "regression":
        return [_number(value, place) for place, value in enumerate(values)]
    for place, value in enumerate(values):
        if is_missing(value) or (isinstance(value, float) and math.isinf(value)):
            raise InputError(
                f"the label of image {place} is {value!r}; expected its class. Fill it, or leave both out."
            )
        if not isinstance(value, _KINDS):
            raise InputError(
                f"the label of image {place} is {value!s:.60}, a {type(value).__name__}; expected one class, a text "
                "or a number."
            )
        _refuse_missing(value, place)
    if are_mixed(values):
        raise InputError(_MIXED)
    return values


def are_mixed(labels: Iterable[Any]) -> bool:
    """Whether some are texts and others are not: 1 and "1" would be one class."""
    return len({isinstance(label, str) for label in labels}) > 1


def given_label_sets(y: Any) -> tuple[list[tuple[Any, ...]], tuple[Any, ...] | None]:
    """The labels that hold on each image, and of a matrix (N, labels) of 0 and 1 what its columns are called.

    A list has a list, tuple or set of labels for each image, and no columns (None). A matrix is an array, a tensor, a
    table or a sparse matrix; columns that have no names are numbered.

    Raises:
        InputError: a label that is missing, of another kind than the others, or no list of them; other numbers than 0
            and 1; or lists that may be either.
    """
    named = tuple(y.columns) if hasattr(y, "columns") else None
    alike = [name for name, count in Counter(composed(str(one)) for one in named or ()).items() if count > 1]
    if alike:
        raise InputError(
            f"several columns are called {listed(alike)}; expected a name for each label. Rename them."
        )
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
    given = [one for labels in sets for one in labels]
    if are_mixed(given):
        raise InputError(_MIXED)
    if given and not isinstance(given[0], str) and _like_a_matrix(values):
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
    flags = (composed(str(label)) for label in columns or ())
    notes = tuple(label_doubts("labels", "multilabel", flags, examples, classes))
    return Dataset("images", "multilabel", tuple(examples), classes, notes=notes), {
        name: names[name] for name in classes
    }


def _sets_of(
    rows: NDArray[Any], named: tuple[Any, ...] | None
) -> tuple[list[tuple[Any, ...]], tuple[Any, ...]]:
    """The columns that have a 1 in each row."""
    empty = rows.dtype.kind == "O" and any(map(is_missing, rows.flat))
    if empty or rows.dtype.kind not in "buifO" or not np.isin(rows, (0, 1)).all():
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
    labels = [plain_label(one) for one in value]
    for label in labels:
        if not isinstance(label, (str, int)) or label == "":
            raise InputError(
                f"image {place} has the label {label!r:.60}; expected a text or a whole number. Leave it out where it "
                "is missing."
            )
        _refuse_missing(label, place)
    ordered = sorted(labels, key=str) if isinstance(value, (set, frozenset)) else labels
    return tuple(dict.fromkeys(ordered))


def _refuse_missing(label: Any, place: int) -> None:
    """Refuse what lists and tables refuse: an array of texts has "nan" where something was missing."""
    if isinstance(label, str) and label in MISSING:
        raise InputError(
            f"image {place} has the label {label!r}, as programs write what is missing. Fill it, leave both out, or "
            "give a class that is really called so another name."
        )


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
        return _classes_of(y) if y.ndim == 2 else [plain_label(value) for value in y.tolist()]
    return [plain_label(value) for value in y]


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


def plain_label(value: Any) -> Any:
    """A number or text as Python's own, of NumPy's or of a tensor with one."""
    return value.item() if isinstance(value, np.generic) or hasattr(value, "detach") else value


def _number(value: Any, place: int) -> float:
    number = target_in(value)
    if number is None:
        raise InputError(
            f"the number of image {place} is {value!s:.60}; expected a finite one of 32 bits. Correct it."
        )
    return number
