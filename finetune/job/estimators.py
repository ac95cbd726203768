"""Classifiers and regressions of scikit-learn, fitted to all images and without each part of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.heads.top import Top
from finetune.job.crossing import Fold
from finetune.job.learned import Learned, Refit
from finetune.job.preparation import Prepared
from finetune.job.recipe import Recipe
from finetune.report.learning_curve import Predict
from finetune.single_thread import one_blas_thread
from models.runtime import Array

_CHECKED = 200  # images on which the exported top is compared with scikit-learn, at most


def fit_estimator(prepared: Prepared, recipe: Recipe) -> Learned:
    """The recipe's classifier, or regression.

    Raises:
        InputError: data that the method is not made for.
        NumericsError: NaN in features.
        ModelError: what is exported does not say the same.
    """
    from finetune.classifiers.exporting import export_top
    from finetune.classifiers.fitting import fit_without
    from finetune.classifiers.result import check
    from finetune.classifiers.several import check_labels, export_labels, fit_labels

    x, y, groups, folds = rows_of(prepared)
    kind = recipe.classifier or recipe.classifiers[0]
    if prepared.task == "multilabel":
        several = fit_labels(kind, x, y, prepared.classes, groups=groups, seed=recipe.seed)
        top = export_labels(several)
        check_labels(top, several, prepared.part("val")[0])
        return Learned(top, (_itself(prepared, top),), several.refit)
    fitted = fit_rows(kind, prepared, x, y, groups, folds, recipe.seed)
    top = export_top(fitted)
    refit = refit_estimator(fitted.estimator)
    if not folds:
        check(top, fitted, prepared.part("val")[0])
        return Learned(top, (_itself(prepared, top),), refit)
    check(top, fitted, x[:_CHECKED])
    models = []
    for number, ((learned, _), (places, held)) in enumerate(zip(folds, prepared.folds, strict=True)):
        one = fit_without(fitted, number, x[learned], y[learned])
        models.append(Fold(export_top(one), places, held))
    return Learned(top, tuple(models), refit)


def _itself(prepared: Prepared, top: Top) -> Fold:
    """The model of one split, which answers for the validation images."""
    return Fold(top, prepared.rows["train"], prepared.rows["val"])


def fit_rows(
    kind: str,
    prepared: Prepared,
    x: Array,
    y: NDArray[Any],
    groups: NDArray[np.int64],
    folds: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
    seed: int,
) -> Any:
    """A `Fitted` of features x (R, D) as `rows_of` gives them."""
    from finetune.classifiers.fitting import fit_classifier, fit_regressor

    if prepared.classes:
        return fit_classifier(kind, x, y, prepared.classes, groups=groups, seed=seed, folds=folds or None)
    return fit_regressor(kind, x, y, groups=groups, seed=seed, folds=folds or None)


def rows_of(
    prepared: Prepared, views: Array | None = None
) -> tuple[Array, NDArray[Any], NDArray[np.int64], list[tuple[NDArray[np.int64], NDArray[np.int64]]]]:
    """A row for each view of each training image: features, targets, groups, and the parts that are held out.

    Of an image that is held out there is the view that is the image itself. `views` (T, V, ...): in place of the
    prepared ones.
    """
    given = prepared.views if views is None else views
    rows, (count, number) = prepared.rows["train"], given.shape[:2]
    place = np.full(len(prepared.examples), -1)
    place[rows] = np.arange(count)
    every = np.arange(number)
    folds = [
        ((place[learned][:, None] * number + every).ravel(), place[held] * number)
        for learned, held in prepared.folds
    ]
    targets, groups = (np.repeat(v[rows], number, axis=0) for v in (prepared.targets, prepared.groups))
    return given.reshape(count * number, -1), targets, groups, folds


def refit_estimator(estimator: Any) -> Refit:
    """The same estimator with the same settings."""
    from sklearn.base import clone

    def fit(x: Array, y: NDArray[Any]) -> Predict:
        with one_blas_thread():
            fitted = clone(estimator).fit(x, y)
        predict: Predict = one_blas_thread()(fitted.predict)
        return predict

    return fit
