"""One phase of training: epochs of steps, early stopping, checkpoints."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import numpy as np

from finetune.training.data import Array, TrainingData
from finetune.training.events import Events
from finetune.training.interrupt import Interrupt
from finetune.training.learner import Learner, Starter
from finetune.training.measuring import measure
from finetune.training.result import Epoch, EpochObserver, EpochProgress
from finetune.training.settings import Settings
from finetune.training.state import Checkpoint, values_of
from models.errors import NumericsError

_TELL = 0.1  # seconds between two words to the observer


@dataclass(frozen=True)
class Training:
    """What all phases of a training share. `start` makes what learns, here or in several processes."""

    start: Starter
    settings: Settings
    checkpoint: Checkpoint
    events: Events
    interrupt: Interrupt
    observer: EpochObserver | None


class Loop:
    """The phase of `training.checkpoint.state`, on a network whose variables are as that state says.

    Validation decides: the best epoch is the one with the lowest validation loss at its best temperature, which moves
    less in steps than the accuracy of few images; without validation images it is the last. `patience` epochs without
    a better one end the phase. What the phase began with is epoch 0 (`began`), which can be the best as well.
    """

    def __init__(
        self,
        training: Training,
        learner: Learner,
        data: TrainingData,
        epochs: int,
        measured_at_once: int,
        *,
        give_up: int | None = None,
        keep_last: bool = False,
    ) -> None:
        """`give_up`: end after so many epochs if none is better than the beginning; `keep_last`: no epoch is chosen."""
        self.training, self.learner, self.data = training, learner, data
        self.network, self.session = learner.network, learner.session
        self.state = training.checkpoint.state
        self.epochs, self.measured_at_once = epochs, measured_at_once
        self.give_up, self.keep_last = give_up, keep_last
        self._heard = 0.0

    def began(self) -> None:
        """Measure what the phase begins with: it is to be beaten."""
        self.training.checkpoint.best = values_of(self.session, self.network.trained)
        data = self.data
        if not len(data.val_y):
            return
        weighted = self.training.settings.class_weights is not None
        own = dataclasses.replace(data, val_x=np.asarray(data.x[:, 0]), val_y=data.y)
        self.learner.share()
        learned, held = (measure(self.learner, part, weighted, self.measured_at_once) for part in (own, data))
        self.state.best_loss = held.refined
        self.state.start = Epoch(
            0.0, learned.loss, learned.accuracy, learned.r2, held.loss, held.refined, held.accuracy, held.r2
        )

    def run(self) -> None:
        """Train until the end, or until Ctrl-C, and put the best values into the variables.

        Raises:
            NumericsError: the loss became NaN or infinite; the checkpoint stands where it was finite.
            OutputError: a checkpoint cannot be written.
        """
        state, settings = self.state, self.training.settings
        state.finished |= not self.epochs
        self.learner.share()
        try:
            while not state.finished and not self.training.interrupt.asked:
                batches = self.data.batches(settings.seed, state.epoch, settings.batch_size)
                rows = self.data.view_rows(settings.seed, state.epoch)
                for batch in batches[state.step :]:
                    self._step(rows[batch], self.data.y[batch], len(batches))
                    if self.training.interrupt.asked:
                        break
                else:
                    self._end_epoch(len(batches))
        except NumericsError as exc:
            self._save()
            raise NumericsError(f"{exc} {self._kept()}") from exc
        self._save()
        if not self.training.checkpoint.best:  # Ctrl-C in the first epoch
            self.training.checkpoint.best = values_of(self.session, self.network.trained)
        best = self.training.checkpoint.best
        self.session.load({v: best[v.name] for v in self.network.trained})

    def _step(self, rows: Array, y: Array, steps: int) -> None:
        state = self.state
        loss, hits, state.rate, interrupted = self.learner.step(self.data.rows[rows], y)
        state.step += 1
        state.loss += loss * len(y)
        state.hits += hits
        self.training.interrupt.asked |= interrupted
        self.training.events.step(
            state.phase, state.step, steps, loss, state.rate, state.epoch * steps + state.step
        )
        if self.training.checkpoint.due():
            self._save()
        if state.step < steps:
            self._tell(steps, len(y))

    def _end_epoch(self, steps: int) -> None:
        state, data, checkpoint = self.state, self.data, self.training.checkpoint
        size = len(data.y)
        for variable in self.network.trained:  # the step after a last finite loss may have gone too far
            if not np.isfinite(self.session.value(variable)).all():
                raise NumericsError(
                    f"{variable.name} became NaN or infinite in epoch {state.epoch + 1} of {state.phase}. Lower the "
                    "learning rate, or clip the gradients."
                )
        loss = state.loss / size
        weighted = self.training.settings.class_weights is not None
        measured = measure(self.learner, data, weighted, self.measured_at_once) if len(data.val_y) else None
        epoch = Epoch(
            rate=state.rate,
            loss=loss,
            accuracy=state.hits / size if data.classes else None,
            r2=None if data.classes else 1 - loss,  # targets are standardised
            val_loss=measured.loss if measured else None,
            val_refined=measured.refined if measured else None,
            val_accuracy=measured.accuracy if measured else None,
            val_r2=measured.r2 if measured else None,
        )
        state.epochs.append(epoch)
        state.epoch, state.step, state.loss, state.hits = state.epoch + 1, 0, 0.0, 0.0
        better = measured is None or state.best_loss is None or measured.refined < state.best_loss
        if better:
            state.best_epoch, state.best_loss = state.epoch, measured.refined if measured else None
        if better or self.keep_last:
            checkpoint.best = values_of(self.session, self.network.trained)
        patience = None if self.keep_last else self.training.settings.patience
        tired = patience is not None and state.epoch - state.best_epoch >= patience
        hopeless = self.give_up is not None and not state.best_epoch and state.epoch >= self.give_up
        state.finished = state.epoch >= self.epochs or tired or hopeless
        self.training.events.epoch(state.phase, epoch, state.epoch, self.network, self.session)
        if checkpoint.due():
            self._save()
        self._tell_end(steps, epoch)

    def _save(self) -> None:
        self.state.marks = self.training.events.marks()
        self.training.checkpoint.save(self.network, self.session)

    def _kept(self) -> str:
        path, best = self.training.checkpoint.path, self.state.best_epoch
        return f"Training stopped in epoch {self.state.epoch + 1}; {path} keeps " + (
            f"the best until then, of epoch {best}." if best else "where it stood; no epoch had ended."
        )

    def _tell(self, steps: int, rows: int) -> None:
        """Where an epoch stands, after a batch of so many `rows`; not more often than somebody can read."""
        observer, state, now = self.training.observer, self.state, time.monotonic()
        if observer is None or now - self._heard < _TELL:
            return
        self._heard = now
        loss = state.loss / (state.step * rows)  # batches differ by one image at most
        observer(EpochProgress(state.phase, state.epoch + 1, self.epochs, state.step, steps, loss))

    def _tell_end(self, steps: int, epoch: Epoch) -> None:
        """What an epoch came to: the training loss, and validation with the same weights."""
        observer, state = self.training.observer, self.state
        if observer is not None:
            observer(
                EpochProgress(
                    state.phase,
                    state.epoch,
                    self.epochs,
                    steps,
                    steps,
                    epoch.loss,
                    epoch.val_refined,
                    epoch.val_accuracy,
                    epoch,
                    epoch.val_r2,
                )
            )
