"""Fits scikit-learn's classifiers and regressions to features, with their settings found by cross-validation."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.classifiers.families import (
    CLASSIFIER_FAMILIES,
    MARGINS,
    REGRESSOR_FAMILIES,
    Family,
    Hyperparameters,
)
from finetune.classifiers.folds import make_folds, make_plain_folds
from finetune.classifiers.result import Fitted
from finetune.classifiers.search import Choice, Folds, Search
from finetune.classifiers.softmax_regression import SoftmaxRegression, moments, standardised
from finetune.single_thread import one_blas_thread
from models.cores import cores
from models.errors import InputError, NumericsError

_LOGISTIC = "logistic"
_AT_ONCE = 4  # fits beside each other, at most: each has a copy of its rows
_LARGE = 2**27  # bytes of features from which on they come one after the other
_FEW = 16  # with fewer features the length of a row says much
_STORED = 2**30  # bytes of training features that a model file may hold
# Beginnings of warnings that say nothing to the caller: of rare classes, and of threads that lost their filters.
_EXPECTED = ("The number of unique classes", "`sklearn.utils.parallel.delayed`")

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def fit_classifier(
    kind: str,
    x: Floats,
    y: Ints,
    classes: Sequence[str],
    *,
    groups: Ints | None = None,
    seed: int = 0,
    folds: Folds | None = None,
) -> Fitted:
    """Fit the classifier `kind` (one of CLASSIFIERS) to features x (N, D) of classes y (N,), places in `classes`.

    Hyperparameters are those with the lowest log loss in cross-validation, stratified by class, or over `folds`, pairs
    of rows (to learn from, to hold out); of logistic regressions within a hundredth of it, the strongest penalty.
    Images of one group (N,) are never torn apart. A class of one image or group takes part in training, and is never
    held out. Where the best setting stands on the edge of what is tried, what lies beyond is tried too. For the choice
    features are standardised by the mean and spread of all images, which know no labels.

    Raises:
        InputError: unknown kind, arrays that do not fit, a class without images, or more than the kind is made for.
        NumericsError: NaN or infinity in the features.
    """
    family, x, y = _ready(kind, x, y, classes, groups)
    return _fit(kind, family, x, y, len(classes), make_folds, groups, seed, folds)


def choose_strength(
    x: Floats,
    y: Ints,
    classes: Sequence[str],
    *,
    groups: Ints | None = None,
    seed: int = 0,
    folds: Folds | None = None,
) -> Choice:
    """How strong a logistic regression may be, by the choice of `fit_classifier`, without what makes it an estimator.

    Raises:
        InputError, NumericsError: as there.
    """
    family, x, y = _ready(_LOGISTIC, x, y, classes, groups)
    with one_blas_thread():
        return _strengths_tried(family, x, y, len(classes), make_folds, groups, seed, folds)


def fit_regressions(
    choice: Choice, rows: Sequence[tuple[int | None, Floats, Ints]]
) -> list[SoftmaxRegression]:
    """Logistic regressions of the chosen strength, for features as they are, beside each other.

    `rows`: for each a fold that has no say in it, as in `fit_without`, or None, and features and classes.
    """
    classes = choice.search.classes or 0

    def fit(one: tuple[int | None, Floats, Ints]) -> SoftmaxRegression:
        fold, x, y = one
        settings, _ = choice.best(without=fold)
        return SoftmaxRegression.of_features(x, y, classes, settings["C"], choice.start(fold))

    large = max(x.nbytes for _, x, _ in rows) > _LARGE
    with one_blas_thread(), ThreadPoolExecutor(1 if large else min(cores(), _AT_ONCE), "graft-fits") as pool:
        return list(pool.map(fit, rows))


def fit_regressor(
    kind: str, x: Floats, y: Floats, *, groups: Ints | None = None, seed: int = 0, folds: Folds | None = None
) -> Fitted:
    """Fit the regression `kind` (one of REGRESSORS) to features x (N, D) and targets y (N,).

    Hyperparameters are those with the lowest squared error in cross-validation; targets are standardised inside.

    Raises:
        InputError: unknown kind, arrays that do not fit, or more images than the kind is made for.
        NumericsError: NaN or infinity in features or targets.
    """
    family = _family(kind, REGRESSOR_FAMILIES)
    x = _checked(x, len(y), groups)
    y = np.asarray(y, np.float64)
    if not np.isfinite(y).all():
        raise NumericsError(f"{int((~np.isfinite(y)).sum())} targets are NaN or infinite; expected numbers.")
    _require_size(kind, family, x, 0, REGRESSOR_FAMILIES)
    return _fit(kind, family, x, y, None, lambda y, g, s: make_plain_folds(len(y), g, s), groups, seed, folds)


def fit_without(fitted: Fitted, fold: int, x: Floats, y: NDArray[Any]) -> Fitted:
    """The same method fitted to other images, with the settings that are best without a say of `fold`.

    x (N, D) and y (N,) are what the other folds hold: neither their model nor its settings know the images of `fold`.
    """
    settings, chosen = fitted.choice.best(without=fold)
    family = fitted.choice.search.family
    with one_blas_thread(), _expected_warnings_left_out():
        return _fitted(fitted.kind, family, fitted.choice, settings, chosen, x, y, fitted.classes, fold)


def _fit(
    kind: str,
    family: Family,
    x: Floats,
    y: NDArray[Any],
    classes: int | None,
    make: Any,
    groups: Ints | None,
    seed: int,
    folds: Folds | None,
) -> Fitted:
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    steps = _scaling(family, x.shape[1])
    with one_blas_thread(), _expected_warnings_left_out():
        if kind == _LOGISTIC and classes:
            choice = _strengths_tried(family, x, y, classes, make, groups, seed, folds)
        else:
            z = Pipeline(steps).fit_transform(x) if steps else x
            targets = y if classes else StandardScaler().fit_transform(y[:, None])[:, 0]
            choice = Search(kind, family, z, targets, classes, groups, seed).run(make, folds)
        settings, chosen = choice.best()
        return _fitted(kind, family, choice, settings, chosen, x, y, classes)


def _ready(
    kind: str, x: Floats, y: Ints, classes: Sequence[str], groups: Ints | None
) -> tuple[Family, Floats, Ints]:
    """The family of a classifier, and what it learns from, checked."""
    family = _family(kind, CLASSIFIER_FAMILIES)
    x = _checked(x, len(y), groups)
    y = np.asarray(y, np.int64)
    _require_classes(y, classes)
    _require_size(kind, family, x, len(classes), CLASSIFIER_FAMILIES)
    return family, x, y


def _strengths_tried(
    family: Family,
    x: Floats,
    y: Ints,
    classes: int,
    make: Any,
    groups: Ints | None,
    seed: int,
    folds: Folds | None,
) -> Choice:
    """The search of a logistic regression, whose `starts` are for features as they are."""
    mean, spread = moments(x)
    choice = Search(_LOGISTIC, family, standardised(x, mean, spread), y, classes, groups, seed).run(
        make, folds
    )
    choice.starts = tuple(
        {strength: one.of(mean, spread) for strength, one in fits.items()} for fits in choice.starts
    )
    return choice


def _scaling(family: Family, width: int) -> list[tuple[str, Any]]:
    """What happens to features before the estimator sees them."""
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    from finetune.classifiers.estimators import double, rounded, unit

    if not family.scaled:
        return []
    to_unit = family.unit and width >= _FEW
    last = ("unit", FunctionTransformer(unit)) if to_unit else ("rounded", FunctionTransformer(rounded))
    return [("double", FunctionTransformer(double)), ("scale", StandardScaler()), last]


def _fitted(
    kind: str,
    family: Family,
    choice: Choice,
    settings: Hyperparameters,
    chosen: dict[str, Any],
    x: Floats,
    y: NDArray[Any],
    classes: int | None,
    without: int | None = None,
) -> Fitted:
    """The method with settings that are chosen; `without`: a fold that x and y hold nothing of."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    from finetune.classifiers.estimators import ScaledMargins

    estimator = choice.search.build(settings)
    if kind == "knn":
        estimator.set_params(n_neighbors=min(estimator.n_neighbors, len(x)))
    if family.gives == MARGINS:
        estimator = ScaledMargins(estimator, chosen["scale"])
    pipeline: Any = Pipeline([*_scaling(family, x.shape[1]), (kind, estimator)])
    if classes is None:
        pipeline = TransformedTargetRegressor(pipeline, transformer=StandardScaler(), check_inverse=False)
    if kind == "forest":
        pipeline.set_params(**{_forest_jobs(pipeline): -1})
    if kind == _LOGISTIC and classes:
        _fit_from_optimum(pipeline, x, y, classes, settings["C"], choice.start(without))
    else:
        pipeline.fit(x, y)
    if kind == "forest":  # threads add up in any order; one adds in the same order every time
        fitted = pipeline.regressor_ if classes is None else pipeline
        fitted[-1].n_jobs = None
    return Fitted(kind, pipeline, chosen, classes, x.shape[1], choice)


def _fit_from_optimum(
    pipeline: Any, x: Floats, y: Ints, classes: int, strength: float, start: SoftmaxRegression | None
) -> None:
    """Fit a pipeline that ends in scikit-learn's logistic regression, which sees that it begins at its optimum."""
    scaling, regression = pipeline[:-1], pipeline[-1]
    z = scaling.fit_transform(x)
    scaler = scaling["scale"]
    begun = None if start is None else start.behind(scaler.mean_, scaler.scale_)
    best = SoftmaxRegression.fit(z, y, classes, strength, begun)
    weights, bias = best.weights.T, best.bias
    if classes == 2:  # of which it has the difference
        weights, bias = weights[1:] - weights[:1], bias[1:] - bias[:1]
    regression.set_params(warm_start=True)
    regression.classes_, regression.coef_, regression.intercept_ = np.unique(y), weights, bias
    regression.fit(z, y)
    regression.set_params(warm_start=False)


@contextmanager
def _expected_warnings_left_out() -> Iterator[None]:
    """Pass on all other warnings when the block has ended.

    They are sorted out then, and not by filters before: threads of a forest in scikit-learn 1.9 each set filters of
    their own, which belong to all threads, and now and then leave none behind.
    """
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    for warning in heard:
        # A fit that has not quite converged is judged by its held-out loss like any other.
        if not (
            issubclass(warning.category, ConvergenceWarning) or str(warning.message).startswith(_EXPECTED)
        ):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _forest_jobs(pipeline: Any) -> str:
    return next(str(name) for name in pipeline.get_params() if name.endswith("forest__n_jobs"))


def _family(kind: str, families: dict[str, Family]) -> Family:
    if kind not in families:
        raise InputError(f"no method {kind!r}; expected one of {', '.join(families)}.")
    return families[kind]


def _checked(x: Floats, count: int, groups: Ints | None) -> Floats:
    x = np.ascontiguousarray(x, np.float32)
    if x.ndim != 2 or 0 in x.shape or len(x) != count or (groups is not None and len(groups) != count):
        given = "" if groups is None else f" and {len(groups)} groups"
        raise InputError(
            f"features are {list(x.shape)} with {count} targets{given}; expected (N, D), N of each, none empty."
        )
    finite = np.isfinite(x).all(axis=1)
    if not finite.all():
        raise NumericsError(
            f"the features of {int((~finite).sum())} of {count} images have NaN or infinity, first row "
            f"{int(np.argmin(finite))}; expected numbers. The trunk is damaged, or its half precision overflows."
        )
    return x


def _require_classes(y: Ints, classes: Sequence[str]) -> None:
    if len(classes) < 2:
        raise InputError(
            f"{len(classes)} class given; expected at least two. Add a folder of something else."
        )
    if y.min() < 0 or y.max() >= len(classes):
        raise InputError(
            f"labels reach from {y.min()} to {y.max()}; expected places in {len(classes)} classes."
        )
    empty = np.flatnonzero(np.bincount(y, minlength=len(classes)) == 0)
    if len(empty):
        names = ", ".join(str(classes[i]) for i in empty[:5])
        raise InputError(
            f"{len(empty)} classes have no training image ({names}); add some, or leave them out."
        )


def _require_size(kind: str, family: Family, x: Floats, classes: int, families: dict[str, Family]) -> None:
    """Refuse what would take hours or more memory than there is, and name what would not."""
    free = [
        name for name, other in families.items() if other.max_images is None and other.max_classes is None
    ]
    others = ", ".join(name for name in free if name != kind)
    if family.max_classes is not None and classes > family.max_classes:
        raise InputError(
            f"{kind} is made for at most {family.max_classes:,} classes, and there are {classes:,}. Use {others}, or "
            "train a head."
        )
    if family.max_images is not None and len(x) > family.max_images:
        raise InputError(
            f"{kind} is made for at most {family.max_images:,} images, and there are {len(x):,}. Use {others}."
        )
    if kind == "knn" and x.nbytes > _STORED:
        raise InputError(
            f"knn stores all training features in the model, here {x.nbytes / 2**30:.1f} GiB; at most "
            f"{_STORED / 2**30:.0f} GiB fit. Use {others}, or fewer images."
        )
