"""How good a model is that says which labels hold, on images of which that is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feature_extraction.items import ImageItem
from finetune.trust.asking import Asked, Asking
from finetune.trust.multilabel import MultilabelMeasure, Table, measure_multilabel
from models.errors import InputError, ModelError
from models.model import Model
from models.wording import listed


@dataclass(frozen=True, eq=False)
class LabelAnswers:
    """What the model gave for each image that could be read, in their order."""

    items: tuple[ImageItem, ...]
    truth: Table  # (N, labels)
    probabilities: NDArray[np.float32]  # (N, labels)


@dataclass(frozen=True)
class MultilabelEvaluation(Asked):
    """The result, over the images that could be read and the labels that the model knows."""

    measure: MultilabelMeasure
    unknown: tuple[tuple[str, int], ...]  # labels that the model does not know, and how many images have them
    answers: LabelAnswers


def evaluate_multilabel(
    model: Model,
    items: Iterable[tuple[ImageItem, Sequence[str]]],
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MultilabelEvaluation:
    """Compare a model's labels with those that hold, given by their ids or names; what is not given does not hold.

    Labels that the model does not know are passed over. `threads` decode images while others run. `progress` hears
    (images done, images in all).

    Raises:
        InputError: not one label that the model knows, or not one image that can be read.
        ModelError: the model does not say which labels hold.
        NumericsError: the model answers with NaN.
    """
    model.require_classifier()
    if not model.is_multilabel:
        raise ModelError(
            f"{model.card.name}: gives one class; expected a model that says which labels hold. Use `evaluate`."
        )
    known = list(items)
    indices, unknown = _indices(model, [names for _, names in known])
    truth: list[list[int]] = []
    answers: list[NDArray[np.float32]] = []
    readable: list[ImageItem] = []
    asking = Asking(model, known, "labelled images", threads, progress)
    for batch in asking.batches():
        answers.append(model.probabilities(batch.pixels))
        readable += [item for item, _ in batch.good]
        truth += [[indices[name] for name in names if name in indices] for _, names in batch.good]
    holds = np.zeros((len(readable), len(model.card.labels)), bool)
    for row, places in enumerate(truth):
        holds[row, places] = True
    likely = np.concatenate(answers)
    measure = measure_multilabel(
        holds, likely, model.thresholds.tolist(), [label.name for label in model.card.labels]
    )
    return MultilabelEvaluation(
        **vars(asking.account()),
        measure=measure,
        unknown=unknown,
        answers=LabelAnswers(tuple(readable), holds, likely),
    )


def _indices(
    model: Model, given: Sequence[Sequence[str]]
) -> tuple[dict[str, int], tuple[tuple[str, int], ...]]:
    """Index of each label that the model knows, and how many images have each of the others."""
    counts = Counter(name for names in given for name in names)
    indices = {name: index for name in counts if (index := model.card.label(name)) is not None}
    unknown = tuple((name, counts[name]) for name in sorted(counts) if name not in indices)
    if counts and not indices:
        raise InputError(
            f"{listed(sorted(counts))}: none of these labels is one of {model.card.name}, which knows "
            f"{listed([label.name for label in model.card.labels])}. Name them by id or name."
        )
    return indices, unknown
