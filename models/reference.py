"""What a model was taught with, as a file carries it, so that others can compare what they see with it.

The metadata entry `graft.reference` is JSON: {"format": 1, "images", "split", "counts", "mean", "covariance", "sample",
"classes", "frequencies", "phases"}, arrays as in `models.packed`. The network's output `projection` (N, R) is the
embedding of an image, scaled to length 1, along the R axes on which the training images vary most, each divided by
their deviation there. Mean, covariance and sample are of the projections of images that were held out; `classes` tells
how the model answered for each of the sample.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.metadata import REFERENCE, read_entry
from models.packed import packed, unpacked
from models.runtime import Array

FORMAT = 1
LEAST = 8  # images that a mean and a covariance are worth anything of
SAMPLE = 1000  # of them that are carried, at most
_ARRAYS = {
    "mean": "<f8",
    "covariance": "<f8",
    "sample": "<f4",
    "classes": "<i8",
    "frequencies": "<f8",
    "phases": "<f8",
}
_FARTHEST = 6.0  # deviations; what lies farther counts as lying there


@dataclass(frozen=True)
class Reference:
    """How held-out images lie in a projection, and how often each class was answered."""

    images: int
    split: str  # which images they were, in words
    counts: tuple[int, ...]  # of each class among the answers; none for a regression
    mean: NDArray[np.float64]  # (R,)
    covariance: NDArray[np.float64]  # (R, R)
    sample: NDArray[np.float32]  # (M, R), some of the projections
    classes: NDArray[np.int64]  # (M,), what was answered for them; all 0 for a regression
    frequencies: NDArray[np.float64]  # (R, K)
    phases: NDArray[np.float64]  # (K,)

    @property
    def width(self) -> int:
        """R, the number of axes of a projection."""
        return len(self.mean)

    def features(self, projections: Array) -> NDArray[np.float64]:
        """Numbers whose means tell distributions apart, (N, J), from projections (N, R).

        The projection itself, and K cosines of it. Source of these: Rahimi and Recht 2007, "Random features for
        large-scale kernel machines"; that means of a few of them tell distributions apart: Chwialkowski et al. 2015,
        "Fast two-sample testing with analytic representations of probability measures".
        """
        z = np.clip(np.asarray(projections, np.float64), -_FARTHEST, _FARTHEST)
        return np.concatenate([z, math.sqrt(2) * np.cos(z @ self.frequencies + self.phases)], axis=1)

    def to_json(self) -> str:
        """The text of the metadata entry."""
        return json.dumps(
            {
                "format": FORMAT,
                "images": self.images,
                "split": self.split,
                "counts": list(self.counts),
                **{name: packed(getattr(self, name), kind) for name, kind in _ARRAYS.items()},
            }
        )

    @classmethod
    def from_json(cls, text: str, where: str = "the model") -> Reference:
        """Read an entry. `where` names the file in errors.

        Raises:
            ModelError: it cannot be read, or has a later format.
        """
        return read_entry(text, FORMAT, cls._of, "what it says of its training images", where)

    @classmethod
    def _of(cls, values: Any) -> Reference:
        arrays = {name: unpacked(values[name], kind) for name, kind in _ARRAYS.items()}
        reference = cls(values["images"], str(values["split"]), tuple(values["counts"]), **arrays)
        reference._check()
        return reference

    def _check(self) -> None:
        """Raise a ValueError for what `to_json` never writes."""
        numbers = (self.images, *self.counts)
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError(f"images {self.images!r}, or counts that are no numbers of images")
        width, cosines, rows = len(self.mean), len(self.phases), len(self.sample)
        expected = {
            "mean": (width,),
            "covariance": (width, width),
            "sample": (rows, width),
            "classes": (rows,),
            "frequencies": (width, cosines),
            "phases": (cosines,),
        }
        arrays = {name: getattr(self, name) for name in expected}
        if {name: array.shape for name, array in arrays.items()} != expected or not width:
            raise ValueError(f"arrays of shapes {[array.shape for array in arrays.values()]}")
        if not 2 <= rows <= self.images or (self.counts and sum(self.counts) != self.images):
            raise ValueError(f"{rows} of {self.images} images, {sum(self.counts)} answers")
        if self.classes.min() < 0 or self.classes.max() >= max(len(self.counts), 1):
            raise ValueError(f"classes {self.classes.min()} to {self.classes.max()}")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("NaN or infinity")


def read_reference(metadata: Mapping[str, str], where: str = "the model") -> Reference | None:
    """What a model's metadata say of its training images; None where they say nothing.

    Raises:
        ModelError: they say something, and it cannot be read.
    """
    text = metadata.get(REFERENCE)
    return None if text is None else Reference.from_json(text, where)
