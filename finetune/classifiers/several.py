"""Labels of which several may hold: a yes-or-no classifier for each, side by side in one top."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.classifiers.exporting import scaled_features, written
from finetune.classifiers.fitting import fit_classifier
from finetune.classifiers.nodes import TopNodes
from finetune.classifiers.result import Fitted, require_equal
from finetune.heads.top import Top
from finetune.single_thread import one_blas_thread
from finetune.trust.multilabel import sigmoid
from models.names import FEATURES, LOGITS
from models.runtime import Array, OnnxSession, RuntimeConfig

_TINY = 1e-6  # probabilities below it are taken for it in logits


@dataclass(frozen=True)
class FittedLabels:
    """For each label a classifier with the classes "does not hold" and "holds"; at least one."""

    names: tuple[str, ...]
    each: tuple[Fitted, ...]

    @property
    def chosen(self) -> Mapping[str, Any]:
        """What each fit has chosen."""
        return {"labels": {name: dict(one.chosen) for name, one in zip(self.names, self.each, strict=True)}}

    def probabilities(self, x: Array) -> NDArray[np.float64]:
        """How probable each label is, (N, labels), from features x (N, D)."""
        return np.stack([one.probabilities(x)[:, 1] for one in self.each], axis=1)

    def refit(self, x: Array, y: NDArray[Any]) -> Callable[[Array], NDArray[Any]]:
        """The same estimators with the same settings, fitted to other features and labels: a function to logits.

        The logit of a label that all of the images have, or none, is 0 throughout.
        """
        from sklearn.base import clone

        with one_blas_thread():
            learned = [
                clone(one.estimator).fit(x, holds.astype(np.int64)) if 0 < holds.sum() < len(holds) else None
                for one, holds in zip(self.each, y.T, strict=True)
            ]

        def logits(rows: Array) -> NDArray[Any]:
            columns = [
                np.zeros(len(rows)) if one is None else _log_odds(one.predict_proba(rows)[:, 1])
                for one in learned
            ]
            return np.stack(columns, axis=1)

        return logits


def fit_labels(
    kind: str,
    x: Array,
    y: NDArray[Any],
    names: Sequence[str],
    *,
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> FittedLabels:
    """Fit the classifier `kind` to features x (N, D) for each label; y (N, labels) of 0 and 1.

    Raises:
        InputError, NumericsError: as `fitting.fit_classifier`; each label holds for some of the images, not for all.
    """
    each = (
        fit_classifier(kind, x, holds.astype(np.int64), (f"without {name}", name), groups=groups, seed=seed)
        for name, holds in zip(names, y.T, strict=True)
    )
    return FittedLabels(tuple(names), tuple(each))


def export_labels(fitted: FittedLabels) -> Top:
    """The same as an ONNX model: `features` in, `embedding` and `logits` (N, labels) out."""
    first = fitted.each[0]
    nodes = _SharingNodes(first.width)
    z = scaled_features(nodes, first.estimator)  # knows no labels: it is that of all
    difference = nodes.constant("difference", [[-1.0], [1.0]])
    columns = []
    for number, one in enumerate(fitted.each):
        nodes.prefix = f"label_{number}/"
        pair = written(nodes, one, one.estimator, z)  # (N, 2), logits of no and yes
        columns.append(nodes.add("MatMul", pair, difference))
    nodes.prefix = ""
    nodes.add("Concat", *columns, output=LOGITS, axis=1)
    return Top(nodes.model(LOGITS, len(fitted.each)), fitted.chosen)


def check_labels(top: Top, fitted: FittedLabels, x: Array) -> float:
    """The largest difference of a probability between the ONNX model and scikit-learn on real features x (N, D).

    Raises:
        ModelError: they differ by more than 1e-5.
    """
    session = OnnxSession(top.model.SerializeToString(), RuntimeConfig("cpu"))
    given = np.concatenate([session.run({FEATURES: rows}, [LOGITS])[0] for rows in fitted.each[0].chunks(x)])
    return require_equal(fitted.each[0].kind, sigmoid(given), fitted.probabilities(x))


def _log_odds(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    held = np.clip(probabilities, _TINY, 1 - _TINY)
    return np.asarray(np.log(held / (1 - held)))


class _SharingNodes(TopNodes):
    """Nodes that hold an array once, however many labels need it."""

    def __init__(self, width: int) -> None:
        self._held: dict[tuple[Any, ...], str] = {}
        super().__init__(width)

    def constant(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        array = np.ascontiguousarray(values, dtype)
        key = (array.shape if np.ndim(values) else (), array.dtype.str, array.tobytes())
        if key not in self._held:
            self._held[key] = super().constant(name, values, dtype)
        return self._held[key]
