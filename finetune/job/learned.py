"""What a method leaves: the top that is shipped, and models like it that have not learned from all images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from finetune.heads.top import Top
from finetune.job.crossing import Fold
from finetune.report.findings import History
from finetune.report.learning_curve import Predict
from models.runtime import Array

Refit = Callable[[Array, NDArray[Any]], Predict]


@dataclass(frozen=True)
class Learned:
    """What a method has learned. `notes` are for the user; `interrupted` says that Ctrl-C ended it early.

    `folds`: the models that answer for images that they have not learned from, which temperature and threshold are
    chosen by; where one split is all, the top itself with the validation images. `refit` fits the same with the
    settings that were chosen to other embeddings, for the learning curve. Behind blocks that is the head alone.
    """

    top: Top
    folds: tuple[Fold, ...]
    refit: Refit
    history: History | None = None
    notes: tuple[str, ...] = ()
    interrupted: bool = False
