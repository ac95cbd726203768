"""The three depths of fine-tuning behind one call: arrays in, a top and its history out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.heads.running import predictor
from finetune.heads.top import Top
from finetune.job.folder import EVENTS, RunFolder
from finetune.job.observing import Observer
from finetune.job.preparation import Prepared
from finetune.job.recipe import Recipe
from finetune.report.findings import History, RateSearch
from finetune.report.learning_curve import Predict
from finetune.single_thread import one_blas_thread
from finetune.training.data import TrainingData
from finetune.training.head import train_head
from finetune.training.learner import LocalLearner, Starter
from finetune.training.result import Phase, Trained
from finetune.training.settings import Settings
from models.runtime import Array

Refit = Callable[[Array, NDArray[Any]], Predict]

_CURVE_EPOCHS = 30  # of the heads that show how accuracy grows with the number of images


@dataclass(frozen=True)
class Learned:
    """What a method has learned. `notes` are for the user; `interrupted` says that Ctrl-C ended it early.

    `refit` fits the same with the settings that were chosen to other embeddings, for the learning curve. Behind
    blocks that is the head alone.
    """

    top: Top
    refit: Refit
    history: History | None = None
    notes: tuple[str, ...] = ()
    interrupted: bool = False


def learn(
    prepared: Prepared,
    recipe: Recipe,
    folder: RunFolder,
    *,
    device: str = "auto",
    threads: int | None = None,
    observer: Observer | None = None,
    start: Starter = LocalLearner,
) -> Learned:
    """Fit what stands behind the trunk, resuming where the folder holds a checkpoint.

    `start`: makes what a head or blocks learn with, by default in this process.

    Raises:
        InputError: data or settings that do not fit the method.
        GraphError: blocks that cannot be differentiated.
        NumericsError: NaN in features, or the loss diverged.
        OutputError: a checkpoint cannot be written, or is of other data.
    """
    if recipe.method == "sklearn":
        return _fit_classifier(prepared, recipe)
    data = _training_data(prepared)
    circumstances: dict[str, Any] = {
        "device": device,
        "threads": threads,
        "resume": folder.resume,
        "observer": observer.train if observer else None,
        "events": folder.path / EVENTS,
        "start": start,
    }
    if recipe.method == "head":
        return _learned(
            train_head(data, recipe.training, folder.work, **circumstances), prepared, recipe, folder
        )
    from finetune.training.blocks import train_blocks

    trunk = prepared.trunk
    trained = train_blocks(
        data, trunk.original_model(), trunk.cut, recipe.training, folder.work, **circumstances
    )
    return _learned(trained, prepared, recipe, folder)


def _refit_head(prepared: Prepared, recipe: Recipe, top: Top, work: Path) -> Refit:
    """A head with the learning rate that was found, and half as long at most."""
    rate = top.chosen.get("learning_rate")
    settings = Settings(
        learning_rate=rate if isinstance(rate, float) else None,
        epochs=min(recipe.training.epochs, _CURVE_EPOCHS),
        patience=None,
        hidden=recipe.training.hidden,
        seed=recipe.seed,
    )

    def fit(x: Array, y: NDArray[Any]) -> Predict:
        classes = len(prepared.classes)
        empty = np.empty((0, *x.shape[1:]), np.float32)
        data = TrainingData(x[:, None].astype(np.float32), y, empty, y[:0], classes)
        trained = train_head(data, settings, work, checkpoint_seconds=float("inf"))
        return predictor(trained.top, several=data.several)

    return fit


def _training_data(prepared: Prepared) -> TrainingData:
    val_x, val_y = prepared.part("val")
    return TrainingData(
        prepared.views, prepared.targets[prepared.rows["train"]], val_x, val_y, len(prepared.classes)
    )


def _fit_classifier(prepared: Prepared, recipe: Recipe) -> Learned:
    from finetune.classifiers.exporting import export_top
    from finetune.classifiers.fitting import fit_classifier, fit_regressor
    from finetune.classifiers.result import check
    from finetune.classifiers.several import check_labels, export_labels, fit_labels

    rows = prepared.rows["train"]
    count, views = prepared.views.shape[:2]
    x = prepared.views.reshape(count * views, -1)
    y = np.repeat(prepared.targets[rows], views, axis=0)
    groups = np.repeat(prepared.groups[rows], views)
    kind = recipe.classifier or recipe.classifiers[0]
    if prepared.task == "multilabel":
        several = fit_labels(kind, x, y, prepared.classes, groups=groups, seed=recipe.seed)
        top = export_labels(several)
        check_labels(top, several, prepared.part("val")[0])
        return Learned(top, several.refit)
    if recipe.task == "regression":
        fitted = fit_regressor(kind, x, y, groups=groups, seed=recipe.seed)
    else:
        fitted = fit_classifier(kind, x, y, prepared.classes, groups=groups, seed=recipe.seed)
    top = export_top(fitted)
    check(top, fitted, prepared.part("val")[0])
    return Learned(top, _refit_estimator(fitted.estimator))


def _refit_estimator(estimator: Any) -> Refit:
    """The same estimator with the same settings."""
    from sklearn.base import clone

    def fit(x: Array, y: NDArray[Any]) -> Predict:
        with one_blas_thread():
            fitted = clone(estimator).fit(x, y)
        predict: Predict = one_blas_thread()(fitted.predict)
        return predict

    return fit


def _learned(trained: Trained, prepared: Prepared, recipe: Recipe, folder: RunFolder) -> Learned:
    refit = _refit_head(prepared, recipe, trained.top, folder.work / "curve")
    return Learned(trained.top, refit, _history(trained.history), trained.notes, trained.interrupted)


def _history(phases: tuple[Phase, ...]) -> History | None:
    """The curves of all phases one after the other; the best epoch is that of the last phase that became better."""
    epochs = [epoch for phase in phases for epoch in phase.epochs]
    if not epochs:
        return None

    def curve(name: str) -> NDArray[np.float64] | None:
        values = [getattr(epoch, name) for epoch in epochs]
        return (
            None if all(v is None for v in values) else np.array([np.nan if v is None else v for v in values])
        )

    best, before = 0, 0
    for phase in phases:
        if phase.best_epoch:  # 0: what the phase before gave
            best = before + phase.best_epoch - 1
        before += len(phase.epochs)
    searched = next((phase for phase in phases if phase.finder), None)
    search = None
    if searched is not None:
        rates, losses = np.array(searched.finder).T
        search = RateSearch(rates, losses, searched.learning_rate)
    loss = curve("loss")
    assert loss is not None  # every epoch has one
    return History(
        loss,
        curve("val_loss"),
        curve("accuracy"),
        curve("val_accuracy"),
        best,
        search,
        curve("val_refined"),
    )
