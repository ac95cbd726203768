"""What stands behind each name: the estimator, the settings that are tried, and what it is not made for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Hyperparameters = Mapping[str, Any]
MARGINS = "margins"  # answers are margins, whose scale is fitted on held-out images
PROBABILITIES = "probabilities"
VALUES = "values"
_TREES = 300


@dataclass(frozen=True)
class Family:
    """One way to learn from features.

    `estimator(settings, seed)` builds what stands behind the scaling. `grid`: settings to try, from the stiffest on;
    `stops` where nothing better is to be expected once a setting was worse. `unit`: rows are also divided by their
    length, which says little in features of a network.
    """

    estimator: Callable[[Hyperparameters, int], Any]
    grid: tuple[Hyperparameters, ...]
    gives: str
    default: Hyperparameters  # where nothing can be held out
    unit: bool = False
    scaled: bool = True
    stops: bool = False
    max_classes: int | None = None
    max_images: int | None = None


def _grid(name: str, *values: float) -> tuple[Hyperparameters, ...]:
    return tuple({name: value} for value in values)


def _logistic(settings: Hyperparameters, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=settings["C"], max_iter=2000)


def _linear_svm(settings: Hyperparameters, seed: int) -> Any:
    from sklearn.svm import LinearSVC

    return LinearSVC(C=settings["C"], max_iter=5000, random_state=seed)


def _rbf_svm(settings: Hyperparameters, seed: int) -> Any:
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import SVC

    return OneVsRestClassifier(SVC(C=settings["C"], gamma=settings["gamma"]))


def _knn(settings: Hyperparameters, seed: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    from finetune.classifiers.estimators import fading

    return KNeighborsClassifier(settings["k"], weights=fading, algorithm="brute", metric="sqeuclidean")


def _forest(settings: Hyperparameters, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        settings.get("trees", _TREES),
        min_samples_leaf=settings["min_samples_leaf"],
        max_leaf_nodes=_LEAVES,
        random_state=seed,
    )


def _nearest_mean(settings: Hyperparameters, seed: int) -> Any:
    from finetune.classifiers.estimators import NearestMean

    return NearestMean()


def _ridge(settings: Hyperparameters, seed: int) -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(settings["alpha"])


def _rbf_svr(settings: Hyperparameters, seed: int) -> Any:
    from sklearn.svm import SVR

    return SVR(C=settings["C"], gamma=settings["gamma"], epsilon=0.05)


def _knn_mean(settings: Hyperparameters, seed: int) -> Any:
    from sklearn.neighbors import KNeighborsRegressor

    from finetune.classifiers.estimators import fading

    return KNeighborsRegressor(settings["k"], weights=fading, algorithm="brute", metric="sqeuclidean")


def _forest_mean(settings: Hyperparameters, seed: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(
        settings.get("trees", _TREES),
        min_samples_leaf=settings["min_samples_leaf"],
        max_features=1 / 3,
        max_leaf_nodes=_LEAVES,
        random_state=seed,
    )


_LEAVES = 4096  # of one tree; larger forests are slow to load and hardly better
_CS = _grid("C", 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
# Gamma in units of 1 / D.
_KERNELS: tuple[Hyperparameters, ...] = tuple(
    {"C": c, "gamma": g} for c in (1.0, 10.0) for g in (0.25, 0.5, 1.0)
)
_NEIGHBOURS = _grid("k", 3, 5, 10, 20, 40)
_TREE_SIZES = _grid("min_samples_leaf", 1, 3)

CLASSIFIER_FAMILIES: dict[str, Family] = {
    "logistic": Family(_logistic, _CS, PROBABILITIES, {"C": 1e-2}, stops=True, max_classes=1000),
    "linear-svm": Family(
        _linear_svm,
        _grid("C", 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
        MARGINS,
        {"C": 1e-3},
        stops=True,
        max_classes=1000,
    ),
    "rbf-svm": Family(
        _rbf_svm, _KERNELS, MARGINS, {"C": 10.0, "gamma": 0.5}, max_classes=200, max_images=10_000
    ),
    "knn": Family(_knn, _NEIGHBOURS, PROBABILITIES, {"k": 3}, unit=True),
    "forest": Family(
        _forest, _TREE_SIZES, PROBABILITIES, {"min_samples_leaf": 1}, scaled=False, max_classes=1000
    ),
    "nearest-mean": Family(_nearest_mean, ({},), MARGINS, {}, unit=True),
}
REGRESSOR_FAMILIES: dict[str, Family] = {
    "ridge": Family(_ridge, _grid("alpha", 1e5, 1e4, 1e3, 1e2, 1e1, 1.0), VALUES, {"alpha": 1e3}, stops=True),
    "rbf-svm": Family(_rbf_svr, _KERNELS, VALUES, {"C": 1.0, "gamma": 0.5}, max_images=10_000),
    "knn": Family(_knn_mean, _NEIGHBOURS, VALUES, {"k": 3}, unit=True),
    "forest": Family(_forest_mean, _TREE_SIZES, VALUES, {"min_samples_leaf": 1}, scaled=False),
}
CLASSIFIERS = tuple(CLASSIFIER_FAMILIES)
REGRESSORS = tuple(REGRESSOR_FAMILIES)
