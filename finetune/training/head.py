"""Trains a head, linear or with hidden layers, on features."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from finetune.autodiff.schedules import Schedule
from finetune.heads.top import Top
from finetune.training.data import Array, TrainingData, class_weights, standardisation
from finetune.training.events import Events
from finetune.training.finder import HIGH, LOW, STEPS, Curve, find_rate
from finetune.training.interrupt import Interrupt
from finetune.training.learner import Learner, LocalLearner, Plan, Starter
from finetune.training.loop import Loop, Training
from finetune.training.rates import Scheduled, Sweep
from finetune.training.result import EpochObserver, Phase, Trained
from finetune.training.settings import Settings
from finetune.training.state import INTERVAL, Checkpoint
from models.errors import InputError

PHASE = "head"
_SMALL = 500_000  # weights: with fewer, one thread is quicker than several that wait for each other
_AT_ONCE = 1024  # rows of features in a validation run


def train_head(
    data: TrainingData,
    settings: Settings,
    work: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    resume: bool = False,
    observer: EpochObserver | None = None,
    events: Path | None = None,
    checkpoint_seconds: float = INTERVAL,
    start: Starter = LocalLearner,
    given: HeadWeights | None = None,
    stop: int | None = None,
) -> Trained:
    """Train a head on features, x (N, V, D); see `Settings`.

    `given`: what a linear head begins with, in place of zeros. `stop`: end after so many epochs of those in the
    settings, whose schedule stays.

    `work`: folder of the checkpoint, which is written every `checkpoint_seconds` (0: after each step). `resume` goes
    on from it, where there is one, and ends with the same bytes as a run that was never stopped. `events`: folder for
    TensorBoard. Ctrl-C ends training with the best so far; it can be resumed. `start`: makes what learns, by default
    in this process.

    Raises:
        InputError: data or settings that do not fit.
        OutputError: `work` cannot be written, or its checkpoint is of other settings or data.
        NumericsError: features or the loss are NaN or infinite; the checkpoint keeps the best so far.
    """
    if len(data.shape) != 1:
        raise InputError(f"x is {data.x.shape}; a head is trained on vectors, (images, views, features).")
    identity = {"method": PHASE, "settings": settings.to_json(), "data": data.digest(), **told(given, stop)}
    with opened(work, identity, settings, resume, observer, events, checkpoint_seconds, start) as training:
        return finish(training, fit_head(training, data, device, threads, given, stop), {"method": PHASE})


@contextmanager
def opened(
    work: Path,
    identity: dict[str, Any],
    settings: Settings,
    resume: bool,
    observer: EpochObserver | None,
    events: Path | None,
    seconds: float,
    start: Starter,
) -> Iterator[Training]:
    """The checkpoint, event files and Ctrl-C of a training."""
    checkpoint = Checkpoint(work, identity, seconds)
    checkpoint.open(resume)
    written = Events(events, checkpoint.state.marks)
    try:
        with Interrupt() as interrupt:
            yield Training(start, settings, checkpoint, written, interrupt, observer)
    finally:
        written.close()


@dataclass(frozen=True)
class HeadWeights:
    """A linear classifier of features as they are: `weights` (D, classes) and `bias` (classes,), float64."""

    weights: Array
    bias: Array

    def digest(self) -> str:
        """SHA-256 of it."""
        return hashlib.sha256(self.weights.tobytes() + self.bias.tobytes()).hexdigest()

    def load(self, learner: Learner) -> None:
        """Give it to a linear head, which sees features standardised."""
        mean, factor = (learner.session.value(v).astype(np.float64) for v in learner.network.standard)
        varies = factor > 0
        ((weights, bias),) = learner.network.head
        scaled = self.weights / np.where(varies, factor, 1)[:, None] * varies[:, None]
        learner.session.load({weights: scaled, bias: self.bias + mean @ self.weights})


def told(given: HeadWeights | None, stop: int | None) -> dict[str, Any]:
    """What a training is told besides its settings, for its identity."""
    return ({"given": given.digest()} if given else {}) | ({"stop": stop} if stop is not None else {})


def fit_head(
    training: Training,
    data: TrainingData,
    device: str,
    threads: int | None,
    given: HeadWeights | None = None,
    stop: int | None = None,
) -> Learner:
    """The phase "head": a network with the best values in its variables."""
    settings, checkpoint = training.settings, training.checkpoint
    weights = class_weights(data.y, data.classes) if data.classes and settings.class_weights else None
    sizes = [data.shape[0], *settings.hidden, data.classes or 1]
    if threads is None and sum(a * b for a, b in pairwise(sizes)) < _SMALL:
        threads = 1
    steps = settings.epochs * len(data.batches(0, 0, settings.batch_size))

    def made(rate: Schedule) -> Learner:
        plan = Plan(settings, data.classes, data.shape, rate, weights, several=data.several)
        return training.start(plan, device, threads)

    fresh = checkpoint.state.phase != PHASE
    if not fresh:
        learner = made(Scheduled(settings, checkpoint.state.learning_rate, steps))
        checkpoint.load(learner.network, learner.session)
    else:
        standard = standardisation(data.rows)
        rate, curve = settings.learning_rate, Curve()
        if rate is None and stop != 0:
            finder = made(Sweep(LOW, HIGH, STEPS))
            set_scales(finder, data, standard)
            rate, curve = find_rate(finder, data, settings, training.interrupt)
        checkpoint.state.begin(PHASE, rate or 0.0, curve)
        learner = made(Scheduled(settings, rate or 0.0, steps))
        set_scales(learner, data, standard)
        training.events.graph(learner.network, learner.session)
    loop = Loop(training, learner, data, settings.epochs if stop is None else stop, _AT_ONCE)
    if fresh and given is not None:
        given.load(learner)
        loop.began()
    loop.run()
    return learner


def set_scales(learner: Learner, data: TrainingData, standard: tuple[Any, Any]) -> None:
    """Give the network the standardisation of features, `standard`, and in a regression of targets.

    Labels begin as frequent as they are: rare ones would have to be unlearned first, for which rates are too low that
    suit the weights. Source: Lin et al. 2017, "Focal loss for dense object detection", section 4.1.
    """
    network = learner.network
    values = dict(zip(network.standard, standard, strict=True))
    if data.several:
        shares = (data.y.sum(axis=0, dtype=np.float64) + 0.5) / (len(data.y) + 1)
        values[network.head[-1][1]] = np.log(shares / (1 - shares)).astype(np.float32)
    if not data.classes:
        deviation = float(np.std(data.y, dtype=np.float64))
        pair = np.float32(np.mean(data.y, dtype=np.float64)), np.float32(deviation or 1)
        values |= dict(zip(network.scale, pair, strict=True))
    learner.session.load(values)


def finish(training: Training, learner: Learner, about: dict[str, Any]) -> Trained:
    """The result; `about` what goes into its `chosen` besides the settings and what training decided."""
    state = training.checkpoint.state
    history = (*state.earlier, state.as_phase())
    chosen = {
        **about,
        **training.settings.to_json(),
        # 0 where no step was made, and what the head started from is kept.
        "learning_rate": history[0].learning_rate or None,
        "phases": [_summary(phase) for phase in history],
    }
    top = Top(learner.network.export(learner.session), chosen)
    return Trained(
        top, history, training.checkpoint.seconds(), training.interrupt.asked, training.events.notes
    )


def _summary(phase: Phase) -> dict[str, Any]:
    best = phase.epochs[phase.best_epoch - 1] if phase.best_epoch else None
    return {
        "phase": phase.name,
        "learning_rate": phase.learning_rate or None,
        "epochs": len(phase.epochs),
        "best_epoch": phase.best_epoch,
        "val_loss": best.val_loss if best else None,
        "val_accuracy": best.val_accuracy if best else None,
        "val_r2": best.val_r2 if best else None,
    }
