"""How often a classifier is right on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feature_extraction.items import ImageItem
from finetune.trust.asking import Asked, Asking
from finetune.trust.measures import wilson_interval
from models.card import Label, ModelCard
from models.errors import InputError
from models.model import Answers, Model
from models.wording import listed

TOP = 5


@dataclass(frozen=True)
class ClassResult:
    """One class: how many images of it there were, and how many were recognised."""

    label: Label
    images: int
    correct: int

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy on the images of this class, 0 to 1."""
        return self.correct / self.images


@dataclass(frozen=True, eq=False)
class ImageAnswers:
    """What the model gave for each image that could be read, in their order."""

    items: tuple[ImageItem, ...]
    truth: NDArray[np.int64]  # (N,), indices of labels
    probabilities: NDArray[np.float32]  # (N, classes)
    reject_scores: NDArray[np.float32] | None  # (N,)


@dataclass(frozen=True)
class Evaluation(Asked):
    """The result of an evaluation. Accuracies are 0 to 1, over the images that could be read."""

    top1: float
    top5: float | None  # None where there are no more than five classes
    interval: tuple[float, float]  # 95 % confidence interval of top1
    classes: tuple[ClassResult, ...]  # those with images, in the order of the labels
    # Images that the model takes for none of its classes; None where it cannot tell.
    rejected: int | None = None
    accepted_top1: float | None = None  # over the images that it does not reject; None where there is none
    answers: ImageAnswers | None = None  # where they are asked for


def evaluate(
    model: Model,
    items: Iterable[tuple[ImageItem, str]],
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    keep_answers: bool = False,
) -> Evaluation:
    """Classify images whose class is known, given by its label's id or name, and count.

    `threads` decode images while others run. `progress` hears (images done, images in all). `keep_answers` keeps the
    probabilities of each image, for a report.

    Raises:
        InputError: a class that the model does not know, or not one image that can be read.
        ModelError: the model gives features, not classes.
        NumericsError: the model answers with NaN.
    """
    model.require_classifier()
    known = list(items)
    indices = _indices(model.card, {key for _, key in known})
    classes = len(model.card.labels)
    seen, correct = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    within_five, rejected, accepted = 0, 0, 0
    kept: list[tuple[list[ImageItem], NDArray[np.int64], Answers]] = []
    asking = Asking(model, known, "labelled images", threads, progress)
    for batch in asking.batches():
        truth = np.array([indices[key] for _, key in batch.good], np.int64)  # (N,)
        outputs = model.answers(batch.pixels)
        assert outputs.probabilities is not None  # it is a classifier
        if keep_answers:
            kept.append(([item for item, _ in batch.good], truth, outputs))
        # (N, up to 5), best first.
        best = np.argsort(-outputs.probabilities, axis=1, kind="stable")[:, :TOP]
        if outputs.rejected is not None:
            rejected += int(outputs.rejected.sum())
            accepted += int((best[:, 0] == truth)[~outputs.rejected].sum())
        seen += np.bincount(truth, minlength=classes)
        correct += np.bincount(truth[best[:, 0] == truth], minlength=classes)
        within_five += int((best == truth[:, None]).any(axis=1).sum())
    images, right = int(seen.sum()), int(correct.sum())
    return Evaluation(
        **vars(asking.account()),
        top1=right / images,
        top5=within_five / images if classes > TOP else None,
        interval=wilson_interval(right, images),
        classes=tuple(
            ClassResult(label, int(n), int(c))
            for label, n, c in zip(model.card.labels, seen, correct, strict=True)
            if n
        ),
        rejected=rejected if model.rejects else None,
        accepted_top1=accepted / (images - rejected) if model.rejects and images > rejected else None,
        answers=_answers(kept) if keep_answers else None,
    )


def _answers(kept: Sequence[tuple[list[ImageItem], NDArray[np.int64], Answers]]) -> ImageAnswers:
    scores = [outputs.reject_scores for _, _, outputs in kept if outputs.reject_scores is not None]
    probabilities = [outputs.probabilities for _, _, outputs in kept if outputs.probabilities is not None]
    return ImageAnswers(
        tuple(item for items, _, _ in kept for item in items),
        np.concatenate([truth for _, truth, _ in kept]),
        np.concatenate(probabilities),
        np.concatenate(scores) if scores else None,
    )


def _indices(card: ModelCard, keys: set[str]) -> dict[str, int]:
    """Index of each class that is named in the data."""
    indices = {key: card.label(key) for key in keys}
    unknown = sorted(key for key, index in indices.items() if index is None)
    if unknown:
        known = ", ".join(f"{label.id} ({label.name})" for label in card.labels[:3])
        raise InputError(
            f"{listed(unknown)}: no such class in {card.name}, which knows {len(card.labels)}, such as "
            f"{known}. Name the folders by id or name, or teach the model these classes."
        )
    return {key: index for key, index in indices.items() if index is not None}
