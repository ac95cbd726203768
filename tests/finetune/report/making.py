"""Findings of made-up runs, small and whole."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from finetune.report.findings import (
    Findings,
    Floats,
    History,
    Interval,
    Ints,
    LearningPoint,
    Previous,
    ProofResult,
    RateSearch,
    Rejection,
)

NAMES = ("cat", "dog", "cup")


def answers(truth: Ints, predicted: Ints, classes: int, confidence: float = 0.8) -> Floats:
    """Probabilities (N, classes) that give `predicted` with `confidence`."""
    rest = (1 - confidence) / max(classes - 1, 1)
    table = np.full((len(truth), classes), rest, np.float32)
    table[np.arange(len(truth)), predicted] = confidence if classes > 1 else 1
    return table


def run(names: tuple[str, ...] = NAMES, images: int = 300, wrong: int = 60, **changes: Any) -> Findings:
    """A classification with everything in it: the first `wrong` of `images` are answered wrongly."""
    classes = len(names)
    truth = np.arange(images, dtype=np.int64) % classes
    predicted = truth.copy()
    predicted[:wrong] = (predicted[:wrong] + 1) % classes
    after = answers(truth, predicted, classes)
    epochs = np.arange(1, 11)
    known = np.linspace(0, 1, images)
    made: dict[str, Any] = {
        "title": "pets",
        "model": "builtin",
        "method": "head",
        "classes": names,
        "counts": {
            split: np.full(classes, n, np.int64) for split, n in (("train", 50), ("val", 40), ("test", 10))
        },
        "settings": {"seed": 0, "training": {"rate": 0.001, "views": 4}, "cut": None},
        "backbone": "A small network.",
        "file_bytes": 8_000_000,
        "ids": tuple(f"test/{names[t]}/{i}.jpg" for i, t in enumerate(truth)),
        "truth": truth,
        "before": answers(truth, predicted, classes, 0.99),
        "after": after,
        "temperature": 1.8,
        "history": History(
            1 / epochs,
            1.1 / epochs,
            1 - 0.5 / epochs,
            0.98 - 0.5 / epochs,
            9,
            RateSearch(np.logspace(-5, 0, 20), np.linspace(2, 1, 20), 0.01),
        ),
        "learning_curve": (LearningPoint(50, 1.0, 0.7, 0.7, 0.01), LearningPoint(150, 0.99, 0.8, 0.8, 0.02)),
        "rejection": Rejection("energy", 0.95, known, known + 0.8, None, "on photos of clouds"),
        "leaks": np.array([], np.int64),
        "previous": Previous("old.onnx", (truth + (np.arange(images) % 3 == 0)) % classes),
        "timings": {"features": 12.3, "training": 0.5},
        "failed": (("train/cat/broken.jpg", "the file ends early"),),
        "warnings": ("Three images are grey.",),
        "proof": ProofResult(32, 1e-7),
        "commands": ("graft classify photo.jpg --model model.onnx",),
    }
    return Findings(**(made | changes))


def regression(images: int = 200, **changes: Any) -> Findings:
    """A regression whose answers are off by a known pattern of mean 0.5 and whose intervals hold 9 of 10."""
    truth = np.linspace(0, 10, images).astype(np.float32)
    off = np.where(np.arange(images) % 2, 0.5, -0.5).astype(np.float32)
    width = np.where(np.arange(images) % 10, 1.0, 0.1).astype(np.float32)
    made: dict[str, Any] = {
        "title": "weights",
        "model": "builtin",
        "method": "head",
        "task": "regression",
        "counts": {"train": np.array([500]), "test": np.array([images])},
        "ids": tuple(f"{i}.jpg" for i in range(images)),
        "truth": truth,
        "values": truth + off,
        "interval": Interval(0.9, truth + off - width, truth + off + width),
        "unit": "kg",
        "history": History(np.array([3.0, 2, 1]), np.array([3.0, 2, 1.2])),
        "previous": Previous("old.onnx", truth + 2 * off),
        "leaks": np.array([0, 1]),
    }
    return Findings(**(made | changes))


def thumbnail(side: int = 32) -> bytes:
    """A small JPEG."""
    stream = io.BytesIO()
    Image.new("RGB", (side, side), (200, 80, 20)).save(stream, "JPEG")
    return stream.getvalue()
