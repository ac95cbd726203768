"""A fitted method, its top as ONNX, and the proof that both say the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.classifiers.search import Choice
from finetune.heads.top import Top
from finetune.single_thread import one_blas_thread
from finetune.trust.measures import softmax
from models.errors import InputError, ModelError
from models.names import FEATURES, LOGITS, VALUE

TOLERANCE = 1e-5  # of probabilities; of values in units of the spread of the targets
_ROWS = 256  # at a time: neighbours are as many distances for each row as there are training images


@dataclass(frozen=True)
class Fitted:
    """A scikit-learn estimator that was fitted to features, and what its fit has chosen.

    `estimator` takes float32 (N, D) as the trunk gives them and has `predict_proba`, (N, classes), its classes being
    0 to `classes` - 1; in a regression (`classes` None) `predict` gives (N,). `chosen`: settings and held-out figures
    as plain JSON values; `choice`: how they came about.
    """

    kind: str
    estimator: Any
    chosen: Mapping[str, Any]
    classes: int | None
    width: int
    choice: Choice

    def probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities, float64 (N, classes), of features x (N, D).

        Raises:
            InputError: this is a regression, or the features have another width.
        """
        if self.classes is None:
            raise InputError(f"{self.kind} was fitted to numbers and has no probabilities; use predict.")
        return self._in_parts(self.estimator.predict_proba, x)

    def predict(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """Classes, int64 (N,), or values, float64 (N,), of features x (N, D).

        Raises:
            InputError: the features have another width.
        """
        if self.classes is not None:
            return np.asarray(self.probabilities(x).argmax(axis=1))
        return self._in_parts(self.estimator.predict, x).reshape(-1)

    def _in_parts(self, ask: Callable[[Any], Any], x: NDArray[np.float32]) -> NDArray[np.float64]:
        with one_blas_thread():
            return np.concatenate([ask(rows) for rows in self.chunks(x)])

    def chunks(self, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Features in parts that are asked for at a time.

        Raises:
            InputError: they have another width.
        """
        x = np.asarray(x, np.float32)
        if x.ndim != 2 or x.shape[1] != self.width:
            raise InputError(f"features are {list(x.shape)}; expected (N, {self.width}), as in training.")
        return [x[i : i + _ROWS] for i in range(0, max(len(x), 1), _ROWS)]


def check(top: Top, fitted: Fitted, x: NDArray[np.float32]) -> float:
    """The largest difference between the ONNX model and scikit-learn on real features x (N, D).

    Raises:
        ModelError: they differ by more than 1e-5 in a probability, or by that part of the targets' spread in a value.
    """
    from models.runtime import OnnxSession, RuntimeConfig

    session = OnnxSession(top.model.SerializeToString(), RuntimeConfig("cpu"))
    output = LOGITS if fitted.classes is not None else VALUE
    parts = [session.run({FEATURES: rows}, [output])[0] for rows in fitted.chunks(x)]
    given = np.concatenate(parts).astype(np.float64)
    allowed = TOLERANCE
    if fitted.classes is not None:
        wanted = fitted.probabilities(x)
        given = softmax(given)
    else:
        wanted = fitted.predict(x)
        allowed *= float(fitted.estimator.transformer_.scale_[0])
        allowed += float(np.spacing(np.float32(np.abs(wanted).max(initial=0))))  # what float32 can hold
    return require_equal(fitted.kind, given, wanted, allowed)


def require_equal(
    kind: str, given: NDArray[np.float64], wanted: NDArray[np.float64], allowed: float = TOLERANCE
) -> float:
    """The largest difference between what ONNX and scikit-learn give for the same rows.

    Raises:
        ModelError: it is more than is allowed.
    """
    difference = np.abs(given - wanted)
    if not (difference <= allowed).all():  # NaN counts as different
        row = int(np.argmax(np.nan_to_num(difference, nan=np.inf)) // (difference.size // len(difference)))
        raise ModelError(
            f"{kind}: the exported top and scikit-learn differ by {difference.max():.2e} on row {row} of "
            f"{len(wanted)}; expected at most {allowed:.1e}. Choose another method, and report this."
        )
    return float(difference.max(initial=0))
