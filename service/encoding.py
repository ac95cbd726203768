"""Results as JSON: the same on the command line and over HTTP."""

from __future__ import annotations

from typing import Any

from models.card import ModelCard
from models.model import Model
from service.results import ImageResult


def result_json(result: ImageResult, model: Model, top_k: int) -> dict[str, Any]:
    """`predictions`, best first, with `rejected` and `reject_score`; or `value` with `unit`, `interval`, `coverage`.

    Numbers have seven significant digits: as many as float32 has.
    """
    if result.value is not None:
        return _value_json(result.value, model.card)
    if result.probabilities is None:
        return {}
    predictions = [
        {"id": one.label.id, "label": one.label.name, "probability": _seven(one.probability)}
        for one in model.top(result.probabilities, top_k)
    ]
    if result.rejected is None or result.reject_score is None:
        return {"predictions": predictions}
    return {
        "predictions": predictions,
        "rejected": result.rejected,
        "reject_score": _seven(result.reject_score),
    }


def interval(value: float, card: ModelCard) -> tuple[float, float] | None:
    """Where the truth of a regression lies, as often as its card says; None where that was not measured."""
    width = card.target.half_width if card.target is not None else None
    return None if width is None else (value - width, value + width)


def _value_json(value: float, card: ModelCard) -> dict[str, Any]:
    values: dict[str, Any] = {"value": _seven(value)}
    if card.target is not None and card.target.unit:
        values["unit"] = card.target.unit
    bounds = interval(value, card)
    if bounds is not None and card.target is not None:
        values |= {"interval": [_seven(bound) for bound in bounds], "coverage": card.target.coverage}
    return values


def _seven(value: float) -> float:
    return float(f"{value:.7g}")
