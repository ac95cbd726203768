"""Estimators in the manner of scikit-learn for what it has not: probabilities of margins, and nearest means."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from finetune.trust.measures import softmax

Floats = NDArray[np.float64]
FAINT = 1e-9  # weight of the farthest neighbour
SHORTEST = 1e-6  # length of a row below which it is not made longer


class ScaledMargins(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Gives probabilities to a classifier that has margins only: softmax(scale x margins).

    One scale for all classes, found on images that were held out, leaves the order of the classes as it is and needs
    no held-out image of each class, unlike a sigmoid for each class (Platt 1999). It is temperature scaling
    (Guo et al. 2017, "On Calibration of Modern Neural Networks").
    """

    def __init__(self, estimator: Any, scale: float = 1.0) -> None:
        self.estimator = estimator
        self.scale = scale

    def fit(self, X: Floats, y: NDArray[Any]) -> Self:  # noqa: N803 (scikit-learn's name)
        """Fit the classifier; the scale is given."""
        self.estimator_ = clone(self.estimator).fit(X, y)
        self.classes_ = self.estimator_.classes_
        return self

    def decision_function(self, X: Floats) -> Floats:  # noqa: N803 (scikit-learn's name)
        """Margins, (N, classes) also where there are two classes."""
        return both_sides(self.estimator_.decision_function(X))

    def predict_proba(self, X: Floats) -> Floats:  # noqa: N803 (scikit-learn's name)
        """Probabilities, (N, classes)."""
        return softmax(self.scale * self.decision_function(X))

    def predict(self, X: Floats) -> NDArray[Any]:  # noqa: N803 (scikit-learn's name)
        """The most probable class of each row."""
        return np.asarray(self.classes_[self.decision_function(X).argmax(1)])


class NearestMean(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Margins are -|x - mean of the class|^2, without the |x|^2 that all classes share.

    scikit-learn's NearestCentroid refuses constant features, and divides by the number of images less the number of
    classes.
    """

    def fit(self, X: Floats, y: NDArray[Any]) -> Self:  # noqa: N803 (scikit-learn's name)
        """Take the mean of each class."""
        self.classes_, classes = np.unique(y, return_inverse=True)
        counts = np.bincount(classes)
        order = np.argsort(classes, kind="stable")
        starts = np.cumsum(counts) - counts
        self.means_ = np.add.reduceat(X[order], starts, axis=0) / counts[:, None]  # (classes, D)
        self.coef_ = 2.0 * self.means_
        self.intercept_ = -(self.means_**2).sum(1)
        return self

    def decision_function(self, X: Floats) -> Floats:  # noqa: N803 (scikit-learn's name)
        """Margins, (N, classes)."""
        return np.asarray(X @ self.coef_.T + self.intercept_)

    def predict(self, X: Floats) -> NDArray[Any]:  # noqa: N803 (scikit-learn's name)
        """The class whose mean is nearest."""
        return np.asarray(self.classes_[self.decision_function(X).argmax(1)])


def both_sides(margins: Floats) -> Floats:
    """Margins of two classes, for which scikit-learn gives those of the second only, as (N, 2)."""
    return margins if margins.ndim == 2 else np.stack([-margins, margins], axis=1)


def fading(distances: Floats) -> Floats:
    """Weights of neighbours from squared distances, (N, k): they fade to nothing at the farthest of the k.

    After Dudani (1976), "The Distance-Weighted k-Nearest-Neighbor Rule", with squared distances. Unlike equal votes
    the answer is continuous: it does not matter which of two images at the same distance is the last neighbour, so
    that rounding cannot change it. What is added keeps neighbours that are all equally near from weighing nothing.
    """
    return np.asarray(distances.max(axis=1, keepdims=True) - distances + FAINT)


def unit(z: Floats) -> Floats:
    """Rows divided by their length, (N, D), rounded to what float32 holds, as it is stored in a model."""
    length = np.sqrt((z * z).sum(axis=1, keepdims=True))
    return rounded(z / np.maximum(length, SHORTEST))


def rounded(z: Floats) -> Floats:
    """The same, rounded to what float32 holds."""
    return z.astype(np.float32).astype(np.float64)


def double(x: NDArray[np.float32]) -> Floats:
    """The same numbers as float64: scikit-learn rounds a mean to the kind of what it is taken from."""
    return np.asarray(x, np.float64)
