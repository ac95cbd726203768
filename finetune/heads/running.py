"""Runs a trained top by itself, on features that are there already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.heads.top import Top
from models.errors import NumericsError
from models.names import EMBEDDING, FEATURES, LOGITS, VALUE
from models.runtime import Array, OnnxSession, RuntimeConfig

_ROWS = 64  # maps at a time


@dataclass(frozen=True)
class TopOutputs:
    """What a top gives: `embedding` float32 (N, D); `logits` (N, classes), or the values (N,) of a regression."""

    embedding: Array
    logits: Array


def run_top(top: Top, features: Array, threads: int | None = None) -> TopOutputs:
    """Run a top on features (N, ...), some rows at a time.

    Raises:
        NumericsError: NaN or infinity among the outputs.
    """
    session = OnnxSession(top.model.SerializeToString(), RuntimeConfig("cpu", threads))
    output = VALUE if VALUE in session.outputs else LOGITS
    parts = [
        session.run({FEATURES: np.ascontiguousarray(features[i : i + _ROWS])}, [EMBEDDING, output])
        for i in range(0, max(len(features), 1), _ROWS)
    ]
    embedding, logits = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if not np.isfinite(logits).all():
        raise NumericsError(
            "the trained top answers with NaN or infinity. Train it with a lower learning rate."
        )
    return TopOutputs(embedding, logits)


def predictor(top: Top, *, several: bool = False) -> Callable[[Array], NDArray[Any]]:
    """A function from features (N, ...) to class indices (N,), or to the values of a regression.

    `several`: to the logits (N, labels) of labels that may hold together.
    """

    def predict(features: Array) -> NDArray[Any]:
        logits = run_top(top, features).logits
        return logits.argmax(axis=1) if logits.ndim == 2 and not several else logits

    return predict
