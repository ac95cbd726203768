"""Heads, and heads with blocks, trained on all images and without each part of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.backbone.trunk import taken
from finetune.classifiers.search import Choice
from finetune.classifiers.softmax_regression import SoftmaxRegression
from finetune.heads.running import predictor, run_top
from finetune.heads.top import Top
from finetune.job.crossing import Fold, Places, best_epoch
from finetune.job.estimators import rows_of
from finetune.job.histories import history_of, mean_history
from finetune.job.learned import Learned, Refit
from finetune.job.observing import Observer
from finetune.job.preparation import Prepared, pooled
from finetune.job.recipe import Recipe
from finetune.report.findings import History
from finetune.report.learning_curve import Predict
from finetune.single_thread import one_blas_thread
from finetune.training.blocks import PHASE as BLOCKS
from finetune.training.blocks import train_blocks
from finetune.training.data import TrainingData
from finetune.training.head import HeadWeights, train_head
from finetune.training.learner import Starter
from finetune.training.result import EpochObserver, EpochProgress, Phase, Trained
from finetune.training.settings import BLOCK_RATES, FORGETFUL, Settings
from models.errors import NumericsError
from models.runtime import Array
from models.wording import counted, listed

_CURVE_EPOCHS = 30  # of the heads that show how accuracy grows with the number of images
_BORNE = 1.7  # times the loss of the head alone, above which a rate does more harm than can be made good
_SMALLER = 4  # times smaller are the batches of a trial, which has more steps for that
TRIAL = 2  # epochs that are enough to see that blocks bring nothing
_UNMEASURED = 15  # epochs of a head that nothing is measured by, before its blocks are trained
_MOST_CLASSES = 1000
_HEAVY = 2e9  # images x features x classes from which on a regression takes longer than a head
NOTHING = (
    "the top blocks brought nothing: {} epochs of training them were no better on images that were held out than the "
    "head alone, which is what the file holds. --method head gives the same in less time."
)


@dataclass(frozen=True)
class Circumstances:
    """Where and how a training runs, which decides nothing of its result."""

    work: Path
    events: Path | None
    resume: bool
    device: str
    threads: int | None
    observer: Observer | None
    start: Starter

    def options(self, part: str = "", words: str = "") -> dict[str, Any]:
        """For the functions of `finetune.training`; `part`: a folder of its own, `words`: what is trained there."""
        observer = self.observer
        if observer is None or (part and not words):
            heard: EpochObserver | None = None
        elif words:
            told = observer.train

            def heard(progress: EpochProgress) -> None:
                told(dataclasses.replace(progress, phase=f"{progress.phase} {words}"))
        else:
            heard = observer.train
        return {
            "work": self.work / part if part else self.work,
            "events": None if part else self.events,
            "resume": self.resume,
            "device": self.device,
            "threads": self.threads,
            "observer": heard,
            "start": self.start,
        }


@dataclass(frozen=True)
class _Starts:
    """Regressions that linear heads begin with: one of all images, and one without each part."""

    whole: HeadWeights | None
    parts: tuple[HeadWeights | None, ...]
    choice: Choice | None = None


def train_head_alone(prepared: Prepared, recipe: Recipe, around: Circumstances) -> Learned:
    """A head on features, from the regression on, for as many epochs as make it better on images held out.

    Raises:
        InputError: data or settings that do not fit.
        NumericsError: NaN in features, or the loss diverged.
        OutputError: a checkpoint cannot be written, or is of other data.
    """
    starts = _starts(prepared, recipe, prepared.views)
    settings, rows = recipe.training, prepared.rows["train"]
    if not prepared.folds:
        data = _data(prepared, around, rows, prepared.rows["val"])
        trained = train_head(data, settings, given=starts.whole, **around.options())
        fold = Fold(trained.top, rows, prepared.rows["val"])
        return _learned(trained, (fold,), history_of(trained.history), prepared, recipe, around, starts)
    tries, parts = [], [_data(prepared, around, learned, held) for learned, held in prepared.folds]
    for number, one in enumerate(parts):
        options = around.options(f"part-{number + 1}", f"without part {number + 1} of {len(parts)}")
        tries.append(train_head(one, settings, given=starts.parts[number], **options))
        if tries[-1].interrupted:
            raise KeyboardInterrupt
    curves = [_losses(one.history[0]) for one in tries]
    counts = [len(held) for _, held in prepared.folds]
    folds = []
    for number, (tried, (learned, held)) in enumerate(zip(tries, prepared.folds, strict=True)):
        epoch, top = best_epoch(curves, counts, number), tried.top
        if epoch != tried.history[0].best_epoch:
            name = f"part-{number + 1}-{epoch}"
            top = train_head(
                _without_validation(parts[number]), settings, given=starts.parts[number], stop=epoch,
                **around.options(name),
            ).top  # fmt: skip
        folds.append(Fold(top, learned, held))
    epoch = best_epoch(curves, counts)
    trained = train_head(
        _data(prepared, around, rows, rows[:0]), settings, given=starts.whole, stop=epoch, **around.options()
    )
    history = mean_history([one.history for one in tries], counts, epoch)
    return _learned(trained, tuple(folds), history, prepared, recipe, around, starts)


def train_blocks_too(prepared: Prepared, recipe: Recipe, around: Circumstances) -> Learned:
    """A head, and then the head with the blocks between the trunk's cut and what the head reads.

    Where images are held out in turn, no epoch is chosen: blocks are trained to the end or not at all.

    Raises:
        InputError: data or settings that do not fit.
        GraphError: blocks that cannot be differentiated.
        NumericsError: NaN in features, or the loss diverged.
        OutputError: a checkpoint cannot be written, or is of other data.
    """
    trunk, settings, rows = prepared.trunk, recipe.training, prepared.rows["train"]
    network = trunk.original_model()

    def train(
        data: TrainingData, part: str = "", words: str = "", how: Settings | None = None, **options: Any
    ) -> Trained:
        where = around.options(part, words)
        return train_blocks(data, network, trunk.cut, how or settings, give_up=None, **options, **where)

    starts = _Starts(None, (None,) * len(prepared.folds))
    if _begins_with_regression(prepared, recipe):
        untaught = train(_data(prepared, around, rows, rows[:0]), "below", head_stop=0, stop=0)
        views = prepared.views
        flat = run_top(untaught.top, views.reshape(-1, *views.shape[2:]), around.threads).embedding
        starts = _starts(prepared, recipe, flat.reshape(*views.shape[:2], -1))
    if not prepared.folds:
        data = _data(prepared, around, rows, prepared.rows["val"])
        rate, notes = tried_rate(train, data, settings, given=starts.whole)
        settings = dataclasses.replace(settings, block_learning_rate=rate or settings.block_learning_rate)
        trained = train(data, given=starts.whole, stop=None if rate else 0)
        fold = Fold(trained.top, rows, prepared.rows["val"])
        notes = (*notes, *(_nothing_gained(trained.history) if rate else ()))
        return _learned(
            trained, (fold,), history_of(trained.history), prepared, recipe, around, starts, notes
        )
    head_stop = None if starts.whole else min(settings.epochs, _UNMEASURED)
    curves, counts, tops, histories = [], [], [], []
    rate, notes = None, ()
    for number, (learned, held) in enumerate(prepared.folds):
        data = _data(prepared, around, learned, held)
        options: dict[str, Any] = {"given": starts.parts[number], "head_stop": head_stop}
        alone = train(_without_validation(data), f"part-{number + 1}-head", stop=0, **options).top
        if not number:
            rate, notes = tried_rate(train, data, settings, **options)
            settings = dataclasses.replace(settings, block_learning_rate=rate or settings.block_learning_rate)
        if not rate:
            tops.append((alone, alone))
            continue
        words = f"without part {number + 1} of {len(prepared.folds)}"
        trained = train(data, f"part-{number + 1}", words, keep_last=True, **options)
        if trained.interrupted:
            raise KeyboardInterrupt
        histories.append(trained.history)
        losses = _losses(trained.history[-1])
        curves.append(losses[[0, -1]])
        counts.append(len(held))
        tops.append((alone, trained.top))
    last = best_epoch(curves, counts) if rate else 0
    if rate and not last:
        notes = (*notes, NOTHING.format(settings.block_epochs))
    folds = [
        Fold(pair[best_epoch(curves, counts, number) if last else 0], learned, held)
        for number, (pair, (learned, held)) in enumerate(zip(tops, prepared.folds, strict=True))
    ]
    trained = train(
        _data(prepared, around, rows, rows[:0]),
        given=starts.whole,
        head_stop=head_stop,
        stop=None if last else 0,
    )
    history = (
        mean_history(histories, counts, len(histories[0][-1].epochs) if last else 0) if histories else None
    )
    return _learned(trained, tuple(folds), history, prepared, recipe, around, starts, notes)


def tried_rate(
    train: Callable[..., Trained], data: TrainingData, settings: Settings, **options: Any
) -> tuple[float | None, tuple[str, ...]]:
    """The rate to train blocks with, None where they bring nothing, and what to say of it; after `TRIAL` epochs.

    The largest rate that is borne is taken: after one epoch the loss of images held out is at most `_BORNE` times
    that of the head alone. Not the rate with the lowest loss then: a head that fits its images all but perfectly is
    disturbed at first, the more the higher the rate, while in the end the higher rates are better. With 700 glyphs
    0.0003, 0.001, and 0.003 came from 0.71 to 0.75, 0.83, and 0.89 in an epoch, and in eight to 0.73, 0.64, and 0.57.
    """
    small = dataclasses.replace(settings, batch_size=max(1, settings.batch_size // _SMALLER))

    def losses_at(rate: float, epochs: int) -> NDArray[np.float64]:
        how = dataclasses.replace(small, block_learning_rate=rate, block_epochs=epochs)
        words = f"on trial at a rate of {rate:g}"
        try:
            trained = train(data, f"trial-{rate:g}", words, how, keep_last=True, **options)
        except NumericsError:
            if given:
                raise
            return np.array([np.nan, np.inf])
        if trained.interrupted:
            raise KeyboardInterrupt
        return _losses(trained.history[-1])[[0, -1]]

    given, (middle, higher, lower) = settings.block_learning_rate, BLOCK_RATES
    first, epochs = given or middle, TRIAL if given else 1
    tried = {first: losses_at(first, epochs)}
    if not given:
        second = higher if _borne(*tried[first]) else lower
        tried[second] = losses_at(second, epochs)
    taken = max((rate for rate, losses in tried.items() if _borne(*losses)), default=None)
    shown = listed(
        [
            f"at {rate:g} "
            + (f"from {before:.3g} to {after:.3g}" if np.isfinite(after) else "beyond all numbers")
            for rate, (before, after) in tried.items()
        ]
    )
    text = f"{counted(epochs, 'epoch')} of the top blocks on trial took the loss of images held out {shown}."
    if taken is None:
        return None, (text, NOTHING.format(TRIAL))
    return taken, (f"{text} The rate is {taken:g}.",)


def _borne(before: float, after: float) -> bool:
    return bool(after <= _BORNE * before)


def _begins_with_regression(prepared: Prepared, recipe: Recipe) -> bool:
    """Whether the head is a linear classifier that a regression can be fitted for in a moment."""
    classes, settings = len(prepared.classes), recipe.training
    width = pooled(prepared.features[:1], prepared.trunk).shape[1]
    rows = len(prepared.rows["train"]) * prepared.views.shape[1]
    return (
        prepared.task == "classification"
        and not settings.hidden
        and settings.optimizer not in FORGETFUL
        and 1 < classes <= _MOST_CLASSES
        and rows * width * classes <= _HEAVY
    )


def _starts(prepared: Prepared, recipe: Recipe, views: Array) -> _Starts:
    """Regressions on features (T, V, D), without weights where they would take too long."""
    from finetune.classifiers.fitting import choose_strength, fit_regressions

    if not _begins_with_regression(prepared, recipe):
        return _Starts(None, (None,) * len(prepared.folds))
    x, y, groups, folds = rows_of(prepared, views)
    choice = choose_strength(x, y, prepared.classes, groups=groups, seed=recipe.seed, folds=folds or None)
    rows = [(None, x, y), *((i, x[learned], y[learned]) for i, (learned, _) in enumerate(folds))]
    whole, *parts = (HeadWeights(one.weights, one.bias) for one in fit_regressions(choice, rows))
    return _Starts(whole, tuple(parts) or (None,) * len(folds), choice)


def _data(prepared: Prepared, around: Circumstances, learned: Places, held: Places) -> TrainingData:
    """What is learned from images at some places, with all their views, and measured on others."""
    place = np.full(len(prepared.examples), -1)
    place[prepared.rows["train"]] = np.arange(len(prepared.views))
    every = len(learned) == len(prepared.views)
    return TrainingData(
        prepared.views if every else taken(prepared.views, place[learned], around.work),
        prepared.targets[learned],
        taken(prepared.features, held, around.work),
        prepared.targets[held],
        len(prepared.classes),
    )


def _without_validation(data: TrainingData) -> TrainingData:
    return dataclasses.replace(data, val_x=data.val_x[:0], val_y=data.val_y[:0])


def _losses(phase: Phase) -> NDArray[np.float64]:
    """The loss of images held out, of what a phase began with and of each epoch."""
    first = [np.inf] if phase.start is None else [phase.start.val_refined]
    return np.array([*first, *(epoch.val_refined for epoch in phase.epochs)], np.float64)


def _nothing_gained(phases: Sequence[Phase]) -> tuple[str, ...]:
    last = phases[-1]
    if last.name == BLOCKS and last.epochs and not last.best_epoch:
        return (NOTHING.format(len(last.epochs)),)
    return ()


def _learned(
    trained: Trained,
    folds: tuple[Fold, ...],
    history: History | None,
    prepared: Prepared,
    recipe: Recipe,
    around: Circumstances,
    starts: _Starts,
    notes: tuple[str, ...] = (),
) -> Learned:
    top, refit = trained.top, _refit_head(prepared, recipe, trained.top, around.work / "curve")
    if starts.choice is not None:
        settings, chosen = starts.choice.best()
        refit = _refit_regression(len(prepared.classes), settings["C"])
        top = dataclasses.replace(top, chosen={**top.chosen, "start": chosen})
    return Learned(top, folds, refit, history, (*trained.notes, *notes), trained.interrupted)


def _refit_regression(classes: int, strength: float) -> Refit:
    """The regression that the head began with, which it hardly differs from."""

    def fit(x: Array, y: NDArray[Any]) -> Predict:
        with one_blas_thread():
            fitted = SoftmaxRegression.of_features(x, y, classes, strength)

        @one_blas_thread()
        def predict(rows: Array) -> NDArray[np.int64]:
            return np.asarray(fitted.logits(rows).argmax(axis=1))

        return predict

    return fit


def _refit_head(prepared: Prepared, recipe: Recipe, top: Top, work: Path) -> Refit:
    """A head with the learning rate that was found, and half as long at most."""
    rate = top.chosen.get("learning_rate")
    settings = Settings(
        learning_rate=rate if isinstance(rate, float) and rate else None,
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
