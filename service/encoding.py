"""Answers as JSON: the same on the command line and over HTTP."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.card import ModelCard
from models.model import Model, Prediction
from models.runtime import Array


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a model says of one image: probabilities of classes, with a reject score where it has one; or a value."""

    probabilities: NDArray[np.float32] | None = None  # (classes,)
    reject_score: float | None = None
    rejected: bool | None = None  # whether it is none of the classes; None where the model cannot tell
    value: float | None = None


def ask(model: Model, batch: NDArray[np.uint8]) -> list[Answer]:
    """The answers for decoded images, uint8 (N, H, W, 3), in one run.

    Raises:
        ModelError: the model gives features.
        NumericsError: the model answers with NaN or infinity.
    """
    if model.is_regression:
        return [Answer(value=value) for value in model.values(batch).tolist()]
    found = model.classifier_outputs(batch)
    if found.reject_scores is None or found.rejected is None:
        return [Answer(row) for row in found.probabilities]
    told = zip(found.probabilities, found.reject_scores.tolist(), found.rejected.tolist(), strict=True)
    return [Answer(row, score, rejected) for row, score, rejected in told]


def answer_json(answer: Answer, model: Model, top_k: int) -> dict[str, Any]:
    """An answer: `predictions`, with `rejected` and `reject_score`; or `value` with `unit`, `interval`, `coverage`."""
    if answer.value is not None:
        return _value_json(answer.value, model.card)
    if answer.probabilities is None:
        return {}
    values: dict[str, Any] = {"predictions": predictions_json(model.top(answer.probabilities, top_k))}
    if answer.rejected is not None and answer.reject_score is not None:
        values |= {"rejected": answer.rejected, "reject_score": _seven(answer.reject_score)}
    return values


def interval(value: float, card: ModelCard) -> tuple[float, float] | None:
    """Where the truth of a regression lies, as often as its card says; None where that was not measured."""
    width = card.target.half_width if card.target is not None else None
    return None if width is None else (value - width, value + width)


def _value_json(value: float, card: ModelCard) -> dict[str, Any]:
    values: dict[str, Any] = {"value": _seven(value)}
    if card.target is not None and card.target.unit:
        values["unit"] = card.target.unit
    found = interval(value, card)
    if found is not None and card.target is not None:
        values |= {"interval": [_seven(bound) for bound in found], "coverage": card.target.coverage}
    return values


def _seven(value: float) -> float:
    return float(f"{value:.7g}")


def predictions_json(predictions: Iterable[Prediction]) -> list[dict[str, Any]]:
    """Predictions, best first, with seven significant digits: as many as float32 has."""
    return [
        {"id": p.label.id, "label": p.label.name, "probability": _seven(p.probability)} for p in predictions
    ]


def base64_float32(values: Array) -> str:
    """An array as base64 of little-endian float32 in row-major order."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def model_json(name: str, model: Model, *, whole: bool = False) -> dict[str, Any]:
    """What a client needs to know of a model; `whole` adds the rest of its card, labels included."""
    card = model.card
    brief = {
        "name": name,
        "task": card.task,
        "description": card.description,
        "input_size": list(card.preprocessing.size),
        "classes": len(card.labels),
        "cuts": [{"name": cut.name, "shape": list(cut.shape)} for cut in card.cuts],
        "device": str(model.session.device),
    }
    return {**brief, "card": dataclasses.asdict(card)} if whole else brief
