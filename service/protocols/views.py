"""A model as other protocols see it: one input, an image; outputs as the configuration shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from models.model import Model
from models.names import PROBABILITIES, REJECT_SCORE, VALUE
from models.runtime import Array
from service.caller import Caller
from service.errors import row_error
from service.results import ImageResult
from service.served import Served
from service.steps import Steps, finish

if TYPE_CHECKING:
    from models.features import FeatureModel

Shown = Literal["answer", "all"]
_DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(uint16)": np.dtype(np.uint16),
    "tensor(int16)": np.dtype(np.int16),
    "tensor(uint32)": np.dtype(np.uint32),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(uint64)": np.dtype(np.uint64),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(bool)": np.dtype(np.bool_),
}
# What the model's own answer to an image holds already.
_OF_RESULTS = frozenset({PROBABILITIES, REJECT_SCORE, VALUE})


@dataclass(frozen=True)
class Output:
    """An output: its shape is without the batch, -1 where it is not fixed; single numbers are (1,)."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """Outputs for N images by name, each (N, ...); `rejected`: which are none of the classes, where that is known."""

    tensors: dict[str, Array]
    rejected: list[bool] | None


def outputs_of(model: Model, shown: Shown) -> list[Output]:
    """The outputs of a model that are shown, the answer first: probabilities, or the value of a regression."""
    known = {value.name: value for value in model.session.raw.get_outputs() if value.type in _DTYPES}
    first = VALUE if model.is_regression else PROBABILITIES
    names = [name for name in (first, *known) if name in known]
    names = list(dict.fromkeys(names)) if shown == "all" else names[:1]
    return [_output(known[name]) for name in names]


def _output(value: Any) -> Output:
    shape = tuple(size if isinstance(size, int) else -1 for size in value.shape[1:])
    return Output(value.name, _DTYPES[value.type], shape or (1,))


def answer(
    served: Served, images: Sequence[NDArray[np.uint8]], names: Sequence[str], caller: Caller
) -> Answer:
    """Outputs of a model for decoded images; `names` are of its outputs.

    Raises:
        GraftError: one of the images has no answer.
        OverloadedError, DeadlineError, CancelledError: as `Served.results_in_steps`.
    """
    return finish(answer_in_steps(served, images, names, caller))


def answer_in_steps(
    served: Served, images: Sequence[NDArray[np.uint8]], names: Sequence[str], caller: Caller
) -> Steps[Answer]:
    """`answer`, step by step."""
    model = served.model
    if _OF_RESULTS.issuperset(names):
        rows = [_checked(row, caller) for row in (yield from served.results_in_steps(images, caller))]
        columns = {name: np.stack([_of_result(row, name) for row in rows]) for name in names}
        rejected = [bool(row.rejected) for row in rows] if model.rejects else None
        return Answer(columns, rejected)
    fetched = (*names, REJECT_SCORE) if model.rejects and REJECT_SCORE not in names else tuple(names)
    rows = [_checked(row, caller) for row in (yield from served.tensors_in_steps(images, fetched, caller))]
    columns = {name: np.stack([row[i] for row in rows]) for i, name in enumerate(fetched)}
    columns = {
        name: values.reshape(len(values), -1) if values.ndim < 2 else values
        for name, values in columns.items()
    }
    rejected = None
    if model.card.reject is not None and model.rejects:
        rejected = (columns[REJECT_SCORE][:, 0] > model.card.reject.threshold).tolist()
    return Answer({name: columns[name] for name in names}, rejected)


def vectors(
    served: Served, images: Sequence[NDArray[np.uint8]], features: FeatureModel, caller: Caller
) -> list[Array]:
    """What a feature model of a model gives for decoded images: an array each.

    Raises:
        GraftError: one of the images has none.
        OverloadedError, DeadlineError, CancelledError: as `Served.results_in_steps`.
    """
    return [_checked(row, caller) for row in served.vectors(images, features, caller)]


def _checked(row: Any, caller: Caller) -> Any:
    if isinstance(row, Exception):
        raise row_error(row, caller.record.request_id)
    return row


def _of_result(result: ImageResult, name: str) -> Array:
    if name == PROBABILITIES:
        assert result.probabilities is not None
        return result.probabilities
    number = result.reject_score if name == REJECT_SCORE else result.value
    return np.array([number], np.float32)


def to_pixels(values: Array, size: tuple[int, int], name: str, *, whole: bool) -> list[NDArray[np.uint8]]:
    """Images (N, H, W, 3) of numbers from 0 to 255, as uint8 (H, W, 3) each; fractions are rounded.

    `size`: the (H, W) that the model takes. `whole`: that the numbers are of a kind without fractions.

    Raises:
        InputError: another shape, a number that is no pixel, or numbers that were scaled to 0..1.
    """
    if values.ndim != 4 or values.shape[1:] != (*size, 3):
        height, width = size
        raise InputError(
            f"{name!r} has the shape {list(values.shape)}; expected [N, {height}, {width}, 3]: pixels in RGB, channels "
            "last. Or send image files as BYTES or base64, which the service resizes itself."
        )
    if values.dtype == np.uint8:
        return list(values)
    return [_pixels(image, f"{name}[{i}]", whole=whole) for i, image in enumerate(values)]


def _pixels(image: Array, name: str, *, whole: bool) -> NDArray[np.uint8]:
    least, most = image.min(), image.max()
    if not (least >= 0 and most <= 255):  # nor NaN
        raise InputError(
            f"{name} holds numbers from {least:.6g} to {most:.6g}; expected pixels from 0 to 255, as the model scales "
            "them itself. Send them as they are in the photo."
        )
    if not whole and 0 < most <= 1:
        raise InputError(
            f"{name} holds numbers from {least:.6g} to {most:.6g}, as if they were scaled to 0..1; expected pixels "
            "from 0 to 255. Multiply them by 255; for an image that is as dark as this, send UINT8."
        )
    return np.rint(image).astype(np.uint8)
