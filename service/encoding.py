"""Results as JSON: the same on the command line and over HTTP."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from models.card import ModelCard
from models.model import Model
from service.results import ImageResult


class Prediction(TypedDict):
    """A class that an image may be of."""

    id: Annotated[str, "What stays the same: a WordNet id, a folder's name."]
    label: Annotated[str, "What people call it."]
    probability: Annotated[float, "From 0 to 1."]
    threshold: NotRequired[Annotated[float, "Where several labels may hold: this one does from here on."]]


class Result(TypedDict, total=False):
    """What a model says of one image: classes, or a number where it is a regression."""

    predictions: Annotated[list[Prediction], "The most probable classes, best first."]
    labels: Annotated[list[str], "Where several may hold: names of all that do, the most probable first."]
    rejected: Annotated[bool, "Whether it is none of the classes, where the model can tell."]
    reject_score: Annotated[float, "The larger, the less is the image like anything known."]
    value: Annotated[float, "The number that a regression gives."]
    unit: Annotated[str, "Of the value."]
    interval: Annotated[list[float], "Where the truth lies: least and largest value."]
    coverage: Annotated[float | None, "How often it does, from 0 to 1."]


def result_json(result: ImageResult, model: Model, top_k: int) -> Result:
    """`predictions`, best first, with `rejected` and `reject_score`; or `value` with `unit`, `interval`, `coverage`.

    Where several labels may hold, each of `predictions` has its `threshold`, and `labels` names all that do.

    Numbers have seven significant digits: as many as float32 has.
    """
    if result.value is not None:
        return _value_json(result.value, model.card)
    if result.probabilities is None:
        return {}
    predictions: list[Prediction] = [
        {"id": one.label.id, "label": one.label.name, "probability": seven(one.probability)}
        for one in model.top(result.probabilities, top_k)
    ]
    if model.is_multilabel:
        for prediction, one in zip(predictions, model.top(result.probabilities, top_k), strict=True):
            prediction["threshold"] = seven(float(model.thresholds[one.index]))
        names = [model.card.labels[index].name for index in model.holding(result.probabilities)]
        return {"labels": names, "predictions": predictions}
    if result.rejected is None or result.reject_score is None:
        return {"predictions": predictions}
    return {
        "predictions": predictions,
        "rejected": result.rejected,
        "reject_score": seven(result.reject_score),
    }


def interval(value: float, card: ModelCard) -> tuple[float, float] | None:
    """Where the truth of a regression lies, as often as its card says; None where that was not measured."""
    width = card.target.half_width if card.target is not None else None
    return None if width is None else (value - width, value + width)


def _value_json(value: float, card: ModelCard) -> Result:
    result: Result = {"value": seven(value)}
    if card.target is not None and card.target.unit:
        result["unit"] = card.target.unit
    bounds = interval(value, card)
    if bounds is not None and card.target is not None:
        result["interval"] = [seven(bound) for bound in bounds]
        result["coverage"] = card.target.coverage
    return result


def seven(value: float) -> float:
    """A number with seven significant digits."""
    return float(f"{value:.7g}")
