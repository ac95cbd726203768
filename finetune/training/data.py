"""What is trained on, and which of it each step sees: functions of the seed, so that a resumed run sees the same."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError, NumericsError

Array = NDArray[Any]

_ROWS = 64  # read from a memory map at a time


@dataclass(frozen=True)
class TrainingData:
    """Images as what the frozen part of a network gives for them; `x` and `val_x` may be memory maps.

    `x`: float32 (N, V, ...), V views of each image, the first of them the image as it is. `y`: int64 (N,) indices of
    classes, float32 (N, classes) of 0 and 1 where several labels may hold, or float32 (N,) targets of a regression.
    `val_x` (M, ...), `val_y` (M, ...): for validation, perhaps none. `classes`: how many, or labels; 0 in a regression.
    """

    x: Array
    y: Array
    val_x: Array
    val_y: Array
    classes: int

    def __post_init__(self) -> None:
        """Refuse what does not fit together, and give labels and targets their dtype.

        Raises:
            InputError: shapes, dtypes or labels that do not fit.
            NumericsError: targets that are not finite.
        """
        if self.x.ndim < 3 or not self.x.size:
            raise InputError(f"x is {self.x.shape}; expected (images, views, ...) with at least one image.")
        if len(self.y) != len(self.x) or len(self.val_y) != len(self.val_x):
            raise InputError(
                f"{len(self.x)} training images have {len(self.y)} labels, {len(self.val_x)} for validation "
                f"{len(self.val_y)}; expected one for each."
            )
        if len(self.val_x) and self.val_x.shape[1:] != self.shape:
            raise InputError(f"val_x is {self.val_x.shape}; expected (M, {', '.join(map(str, self.shape))}).")
        if self.x.dtype != np.float32 or self.val_x.dtype != np.float32:
            raise InputError(f"x is {self.x.dtype} and val_x {self.val_x.dtype}; expected float32.")
        for name, labels in (("y", self.y), ("val_y", self.val_y)):
            if self.several:
                self._check_labels(name, labels)
            elif self.classes and (
                labels.dtype.kind not in "iu"
                or (len(labels) and not 0 <= labels.min() <= labels.max() < self.classes)
            ):
                raise InputError(
                    f"{name} holds {labels.dtype} from {labels.min()} to {labels.max()}; expected indices of "
                    f"{self.classes} classes."
                )
            if not self.classes and not np.isfinite(labels).all():
                raise NumericsError(f"{name} holds targets that are NaN or infinite; leave those images out.")
            indices = self.classes and not self.several
            object.__setattr__(self, name, np.asarray(labels, np.int64 if indices else np.float32))
        if self.classes == 1 and not self.several:
            raise InputError("there is one class only; expected at least two to tell apart.")

    def _check_labels(self, name: str, labels: Array) -> None:
        if labels.shape[1:] != (self.classes,) or not np.isin(labels, (0, 1)).all():
            raise InputError(
                f"{name} is {labels.dtype} {list(labels.shape)}; expected 0 or 1 for each of {self.classes} labels."
            )

    @property
    def several(self) -> bool:
        """Whether several labels of an image may hold."""
        return self.y.ndim == 2

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one view of one image."""
        return tuple(self.x.shape[2:])

    @property
    def views(self) -> int:
        """Views of each training image."""
        return int(self.x.shape[1])

    @cached_property
    def rows(self) -> Array:
        """`x` with one row for each view of each image, without a copy."""
        return self.x.reshape(-1, *self.shape)

    def digest(self) -> str:
        """SHA-256 of everything in it."""
        digest = hashlib.sha256(repr((self.x.shape, self.val_x.shape, self.classes)).encode())
        for array in (self.rows, self.y, self.val_x, self.val_y):
            for first in range(0, len(array), _ROWS):
                digest.update(np.ascontiguousarray(array[first : first + _ROWS]).data)
        return digest.hexdigest()

    def batches(self, seed: int, epoch: int, size: int) -> list[Array]:
        """Indices of images for each step of an epoch: all images once, in an order of (seed, epoch).

        Batches differ in size by one at most, so that no small last one makes a noisy step; each has at most `size`.
        """
        order = np.random.default_rng([seed, epoch]).permutation(len(self.y))
        return np.array_split(order, math.ceil(len(order) / size))

    def view_rows(self, seed: int, epoch: int) -> Array:
        """For each image the row of the view that an epoch uses: each view once in V epochs, from a random first."""
        first = np.random.default_rng([seed]).integers(0, self.views, len(self.y))
        return np.arange(len(self.y)) * self.views + (first + epoch) % self.views


def standardisation(rows: Array) -> tuple[Array, Array]:
    """Means, and factors that bring deviations to 1, of the columns of (rows, D); float32 (D,) each.

    A column that hardly varies is worth nothing in training and could be anything later: its factor is 0.

    Raises:
        NumericsError: NaN or infinity among the features.
    """
    count, total, squares = len(rows), np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    for first in range(0, count, 4096):
        total += rows[first : first + 4096].sum(0, dtype=np.float64)
    mean = total / count
    for first in range(0, count, 4096):
        squares += np.square(rows[first : first + 4096] - mean).sum(0)
    if not np.isfinite(squares).all():
        raise NumericsError(
            "features hold NaN or infinity. Look for damaged images, or take them at another cut of the network."
        )
    deviation = np.sqrt(squares / count)
    varies = deviation > 1e-5 * max(deviation.max(initial=0), 1e-30)
    factor = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    return mean.astype(np.float32), factor.astype(np.float32)


def class_weights(y: Array, classes: int) -> list[float]:
    """images / (classes n) for each class of n images (King and Zeng, 2001); a class without any counts like one.

    The same for labels (N, labels), of which n images have one.
    """
    counts = y.sum(axis=0) if y.ndim == 2 else np.bincount(y, minlength=classes)
    return [len(y) / (classes * max(int(n), 1)) for n in counts]
