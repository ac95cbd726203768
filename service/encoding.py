"""Answers as JSON: the same on the command line and over HTTP."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable
from typing import Any

from models.model import Model, Prediction
from models.runtime import Array


def predictions_json(predictions: Iterable[Prediction]) -> list[dict[str, Any]]:
    """Predictions, best first, with seven significant digits: as many as float32 has."""
    return [
        {"id": p.label.id, "label": p.label.name, "probability": float(f"{p.probability:.7g}")}
        for p in predictions
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
