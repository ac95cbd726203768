"""What training says while it runs, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from finetune.heads.top import Top


@dataclass(frozen=True)
class EpochProgress:
    """Where training stands: after `step` of `steps` in epoch `epoch` (from 1) of at most `epochs`.

    `loss`: mean of this epoch so far. `val_loss`, `val_accuracy` and in a regression `val_r2`: of the same epoch, where
    it has ended; the loss is the one that decides which epoch is kept, `Epoch.val_refined`. `ended`: all that is
    known of an epoch that has ended.
    """

    phase: str
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    val_loss: float | None = None
    val_accuracy: float | None = None
    ended: Epoch | None = None
    val_r2: float | None = None


EpochObserver = Callable[[EpochProgress], None]


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images. `rate`: of its last step.

    Losses are means over images; those of validation without label smoothing. In a regression they
    are squared errors as parts of the variance of the training targets, and there is `r2` in place of `accuracy`.
    `val_refined`: the validation loss at the temperature that makes it lowest; it decides which epoch is the best.
    Training's are measured while the weights change, with dropout, so they lag behind.
    """

    rate: float
    loss: float
    accuracy: float | None
    r2: float | None
    val_loss: float | None
    val_refined: float | None
    val_accuracy: float | None
    val_r2: float | None


@dataclass(frozen=True)
class Phase:
    """The history of one phase: "head", or "blocks".

    `best_epoch` counts from 1; 0 means that no epoch was better than what the phase began with: in "blocks" the head
    alone, in "head" the weights that were given. `finder`: rates and smoothed losses of the learning-rate finder, empty
    where it was not asked. `start`: what it began with, measured like an epoch; None where that was nothing.
    """

    name: str
    learning_rate: float
    best_epoch: int
    epochs: tuple[Epoch, ...]
    finder: tuple[tuple[float, float], ...] = ()
    start: Epoch | None = None


@dataclass(frozen=True)
class Trained:
    """A trained top, and how it came about.

    `interrupted`: Ctrl-C ended it, and the top is the best until then. `notes`: what a person should know.
    """

    top: Top
    history: tuple[Phase, ...]
    seconds: float
    interrupted: bool = False
    notes: tuple[str, ...] = ()
