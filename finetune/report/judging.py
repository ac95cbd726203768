"""What curves and counts mean, in words, by rules that are written down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from finetune.pages.formatting import quoted
from finetune.report.findings import Floats, History, Ints
from finetune.trust.measures import Z95

Fit = Literal["unknown", "diverged", "unfinished", "overfitted", "late", "good"]

FEWEST_EPOCHS = 3
# Accuracy on training images above that on validation images from which on we speak of over-fitting.
GAP = 0.05
LARGE_GAP = 0.15
LOSS_RATIO = 1.5  # validation loss over training loss, where there are no accuracies
LOSS_RISE = 0.10  # rise of the validation loss after its best epoch
STILL_FALLING = 0.01  # fall of the validation loss over the last quarter of the epochs
UNBALANCED = 3.0  # largest class over smallest
FEW = 20  # training images of a class
_AGAINST_OVERFITTING = (
    "Add training images, which helps most; more altered versions (--views), weight decay or dropout help "
    "too."
)


@dataclass(frozen=True)
class Judgement:
    """A finding in words. `kind` is one word for programs, `concern` whether it is a reason for care.

    `advice`: what to do about it, empty where there is nothing to do.
    """

    kind: Fit
    words: str
    concern: bool = False
    advice: str = ""


def judge_fit(history: History, val_images: int | None = None) -> Judgement:
    """Whether the model over-fits, judged by training and validation curves. The first rule that holds decides:

    1. no validation images, or fewer than three epochs: unknown.
    2. a training loss that is not a number: diverged.
    3. at the epoch that was kept, accuracy on training images is more than 5 points above that on validation images,
       and more than the half-width of the 95 % interval of the latter: over-fitted (above 15 points: strongly). Where
       there are no accuracies: validation loss above 1.5 times the training loss.
    4. the last epoch is the best, and the validation loss fell by over 1 % in the last quarter: unfinished.
    5. the validation loss rose by over 10 % after its best epoch: over-fitted late, which the kept epoch escapes.
    6. otherwise good.

    The validation loss is the one that decides which epoch is kept, `History.deciding`.
    """
    if not np.isfinite(history.train_loss).all():
        epoch = int(np.flatnonzero(~np.isfinite(history.train_loss))[0]) + history.first
        return Judgement(
            "diverged",
            f"The training loss became infinite or not a number in epoch {epoch}: the learning rate is too high for "
            "this model.",
            True,
            "Train again with a tenth of the learning rate (--learning-rate).",
        )
    val = history.deciding
    if val is None or not np.isfinite(val).any():
        return Judgement("unknown", "Without validation images nothing can be said about over-fitting.", True)
    if len(history.train_loss) < FEWEST_EPOCHS:
        return Judgement("unknown", "Too few epochs to say anything about over-fitting.")
    best, kept = history.best, history.best + history.first
    gap = _gap(history, best, val_images) or _loss_gap(history, best)
    if gap:
        return gap
    last = len(val) - 1
    earlier = val[last - max(1, len(val) // 4)]
    if best == last and val[last] < earlier * (1 - STILL_FALLING):
        return Judgement(
            "unfinished",
            "The validation loss was still falling in the last epoch: the model is not over-fitted, and longer "
            "training is likely to make it better.",
        )
    lowest = float(np.nanmin(val))
    if best < last and val[last] > lowest * (1 + LOSS_RISE):
        rise = f"by {100 * (val[last] / lowest - 1):.0f} %" if lowest else f"from 0 to {val[last]:.2g}"
        return Judgement(
            "late",
            f"After epoch {kept} the model went on learning its training images by heart: the validation loss "
            f"rose {rise}. The weights of epoch {kept} were kept, so the model does not suffer from it.",
        )
    return Judgement("good", _close(history, best, val_images))


def _close(history: History, best: int, val_images: int | None) -> str:
    """That there is no sign of over-fitting, and how far apart the curves are all the same."""
    if history.train_accuracy is not None and history.val_accuracy is not None and val_images:
        gap = float(history.train_accuracy[best] - history.val_accuracy[best])
        if gap > GAP:
            return (
                f"Validation is {100 * gap:.1f} points below training, which is no more than {val_images} validation "
                "images can be off by chance: there is no proof of over-fitting."
            )
    return "Training and validation curves stay close together: there is no sign of over-fitting."


def _gap(history: History, best: int, val_images: int | None) -> Judgement | None:
    if history.train_accuracy is None or history.val_accuracy is None:
        return None
    train, val = float(history.train_accuracy[best]), float(history.val_accuracy[best])
    gap = train - val
    noise = Z95 * math.sqrt(max(val * (1 - val), 0) / val_images) if val_images else 0.0
    if not gap > max(GAP, noise):
        return None
    return Judgement(
        "overfitted",
        f"The model is {'strongly' if gap > LARGE_GAP else 'somewhat'} over-fitted: it is right on {100 * train:.1f} % "
        f"of the images that it learned from, but only on {100 * val:.1f} % of the validation images.",
        gap > LARGE_GAP,
        _AGAINST_OVERFITTING,
    )


def _loss_gap(history: History, best: int) -> Judgement | None:
    if history.train_accuracy is not None or history.val_loss is None:
        return None
    train, val = float(history.train_loss[best]), float(history.val_loss[best])
    if not (train > 0 and val > LOSS_RATIO * train):
        return None
    return Judgement(
        "overfitted",
        f"The model is over-fitted: its loss on validation images is {val / train:.1f} times that on the images that "
        "it learned from.",
        val > 2 * LOSS_RATIO * train,
        _AGAINST_OVERFITTING,
    )


def judge_balance(counts: Ints, names: tuple[str, ...]) -> str | None:
    """What to know about unbalanced or small classes; `counts` are training images (classes,). None: nothing.

    Said when the largest class has at least three times the images of the smallest, or a class has under 20.
    """
    if len(counts) < 2:
        return None
    most, least = int(np.argmax(counts)), int(np.argmin(counts))
    sentences = []
    if counts[least] * UNBALANCED <= counts[most]:
        sentences.append(
            f"The classes are unbalanced: {counts[most]} training images of {quoted(names[most])} against "
            f"{counts[least]} of {quoted(names[least])}. Accuracy speaks mostly of the large classes; the macro "
            "averages count every class alike. Class weights or more images of the small classes help."
        )
    few = int((counts < FEW).sum())
    if few:
        which = quoted(names[least]) if few == 1 else f"{few} classes"
        sentences.append(f"There are fewer than {FEW} training images of {which}: expect little there.")
    return " ".join(sentences) or None


def decimate(curve: Floats, most: int = 1000) -> tuple[Ints, Floats]:
    """At most about `most` points of a curve (E,), evenly spaced, first and last among them; with their indices."""
    rows = np.unique(np.linspace(0, len(curve) - 1, min(len(curve), most)).round().astype(np.int64))
    return rows, curve[rows]
