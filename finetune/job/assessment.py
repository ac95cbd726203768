"""What a trained top is worth: its outputs for held-out images, its temperature, its threshold, its curve."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_extraction.batches import decoded_batches
from finetune.dataset.examples import Example
from finetune.dataset.task import Task
from finetune.heads.running import TopOutputs, run_top
from finetune.job.crossing import Fold, Held, held_outputs
from finetune.job.learned import Learned
from finetune.job.preparation import Prepared
from finetune.job.recipe import Recipe
from finetune.report.findings import LearningPoint, Measured, Previous
from finetune.report.learning_curve import learning_curve
from finetune.single_thread import one_blas_thread
from finetune.trust.calibration import checked_temperature
from finetune.trust.measures import r2, softmax
from finetune.trust.multilabel import label_temperature, label_thresholds, mean_average_precision, sigmoid
from finetune.trust.reference import Projector, fit_reference
from finetune.trust.rejection import HeldPart, Rejector, Spaces, fit_rejector
from models.errors import ModelError
from models.model import Model
from models.reference import Reference
from models.runtime import Array
from models.wording import listed

_DESCRIBED = 2  # folds whose images are what a service compares with
COVERAGE = 0.9  # of the interval around a regression's values
# Of the learning curve; None: accuracy. Ranks of logits are those of probabilities.
_SCORES: Mapping[Task, Callable[[NDArray[Any], NDArray[Any]], float] | None] = {
    "classification": None, "multilabel": mean_average_precision, "regression": r2,
}  # fmt: skip


@dataclass(frozen=True)
class Assessment:
    """What held-out images showed. `rows` (M,): the places of the measured images, which the numbers are about.

    `measured`: the split that they are of, or "cross-fitting": each was held out once from a model like this one.
    """

    measured: Measured
    rows: NDArray[np.int64]
    outputs: TopOutputs  # for the measured images
    temperature: float | None = None
    rejector: Rejector | None = None
    # (M,), of the measured images: by the models that gave `outputs`, none of which has learned from its images.
    reject_scores: NDArray[np.float64] | None = None
    half_width: float | None = None  # of the interval of a regression
    curve: tuple[LearningPoint, ...] | None = None
    described: tuple[Projector, Reference] | None = (
        None  # what the images look like, for a service to compare with
    )
    thresholds: tuple[float, ...] = ()  # of a multilabel, from which probability on each label holds

    def probabilities(self, *, calibrated: bool, logits: Array | None = None) -> Array:
        """Probabilities, (N, classes), of the measured images or of `logits`, with the temperature or without it."""
        temperature = (calibrated and self.temperature) or 1.0
        return (sigmoid if self.thresholds else softmax)(
            self.outputs.logits if logits is None else logits, temperature
        )


@one_blas_thread()
def assess(
    prepared: Prepared,
    learned: Learned,
    recipe: Recipe,
    *,
    unknown: TopOutputs | None = None,
    curve: bool = True,
    spaces: Callable[[], Spaces] | None = None,
) -> Assessment:
    """Fit temperature and threshold on images held out, and measure on test images where there are any.

    `unknown`: outputs for images that are none of the classes; without, classes are held out in turn. `curve`: whether
    to learn from fewer images too. `spaces`: gives those that were fitted ahead, if any.
    """
    targets, test = prepared.targets, prepared.rows["test"]
    held = held_outputs(learned.folds, prepared.features)
    measured: Measured = "cross-fitting" if prepared.folds else "val"
    rows, outputs = held.rows, held.outputs
    if len(test):
        measured, rows, outputs = "test", test, run_top(learned.top, prepared.features[test])
    train = run_top(learned.top, prepared.views[:, 0]).embedding
    asked = learned.folds if prepared.task == "classification" else learned.folds[: int(curve)]
    parts = [_part_of(prepared, held, number, fold, train) for number, fold in enumerate(asked)]
    points = _curve(prepared, learned, recipe, parts[0], outputs) if curve else None
    described = _described(prepared, train, held, outputs, recipe.seed)
    if not prepared.classes:
        half_width = conformal(np.abs(held.outputs.logits - targets[held.rows]))
        return Assessment(
            measured, rows, outputs, half_width=half_width, curve=points, described=described,
        )  # fmt: skip
    if prepared.task == "multilabel":
        temperature = label_temperature(held.outputs.logits, targets[held.rows])
        thresholds = label_thresholds(sigmoid(held.outputs.logits, temperature), targets[held.rows])
        return Assessment(
            measured, rows, outputs, temperature, curve=points, described=described, thresholds=thresholds
        )
    rejector = fit_rejector(
        train,
        targets[prepared.rows["train"]],
        [part.known for part in parts],
        unknown=(unknown.embedding, unknown.logits) if unknown else None,
        keep=recipe.keep,
        seed=recipe.seed,
        spaces=spaces() if spaces else None,
    )
    temperature = checked_temperature(held.outputs.logits, targets[held.rows])
    if measured == "test":
        scores = rejector.score(outputs.embedding, outputs.logits)
    else:  # those of the parts one after the other, in the order of the images
        scores = np.empty(len(held.rows))
        scores[np.argsort(held.fold, kind="stable")] = rejector.held
    return Assessment(
        measured, rows, outputs, temperature, rejector, scores, curve=points, described=described,
    )  # fmt: skip


@dataclass(frozen=True)
class _Part:
    """What a fold knows, and gives for what it does not; `own`: its embeddings are not those of the shipped model."""

    known: HeldPart
    own: bool


def _part_of(prepared: Prepared, held: Held, number: int, fold: Fold, train: Array) -> _Part:
    """What a fold of this number was taught and asked; `train`: embeddings (T, D) by the shipped model.

    Those of the fold are the same, unless layers below the embedding were trained: hidden ones of a head, or blocks.
    Then distances between the two mean nothing, and what it has learned from is run through its own.
    """
    mine, targets, place = (
        held.fold == number,
        prepared.targets,
        partial(np.searchsorted, prepared.rows["train"]),
    )
    rows, embeddings = held.rows[mine], held.outputs.embedding[mine]
    own = bool(prepared.folds) and not np.array_equal(embeddings, train[place(rows)])
    known = (
        run_top(fold.top, prepared.features[fold.learned]).embedding if own else train[place(fold.learned)]
    )
    logits = held.outputs.logits[mine]
    return _Part(
        HeldPart(known, targets[fold.learned], embeddings, logits, targets[rows], prepared.groups[rows]), own
    )


def _curve(
    prepared: Prepared, learned: Learned, recipe: Recipe, part: _Part, outputs: TopOutputs
) -> tuple[LearningPoint, ...]:
    """The learning curve of the first fold, measured on what was held out from it, and on test images."""
    known, rows, test = part.known, prepared.rows["test"], None
    if len(rows):
        top = learned.folds[0].top
        seen = run_top(top, prepared.features[rows]).embedding if part.own else outputs.embedding
        test = seen, prepared.targets[rows]
    return learning_curve(
        learned.refit, (known.known, known.known_y), (known.embeddings, known.y), test,
        seed=recipe.seed, score=_SCORES[prepared.task],
    )  # fmt: skip


def _described(
    prepared: Prepared, train: Array, held: Held, outputs: TopOutputs, seed: int
) -> tuple[Projector, Reference] | None:
    """What images look like that were held out, along axes of those that were trained on.

    Where all are trained on, those of some folds are held out from the axes.
    """
    parts, split = [(held.outputs.embedding, held.outputs.logits)], "validation images"
    if prepared.folds:
        chosen = held.fold < _DESCRIBED
        place = np.searchsorted(prepared.rows["train"], held.rows[chosen])
        parts, split = [(train[place], held.outputs.logits[chosen])], "images held out in turn"
        train = np.delete(train, place, axis=0)
    if len(prepared.rows["test"]):
        parts.append((outputs.embedding, outputs.logits))
        split = (
            split.replace(" images", " and test images", 1)
            if not prepared.folds
            else f"{split} and test images"
        )
    embeddings, logits = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    answers = logits.argmax(axis=1) if prepared.classes else None
    return fit_reference(train, embeddings, answers, len(prepared.classes), split, seed)


def conformal(errors: Array, coverage: float = COVERAGE) -> float | None:
    """The half-width that holds a new value with probability `coverage`: the error at rank ceil((n + 1) coverage).

    None where there are too few images for that. Source: Lei et al. 2018, "Distribution-free predictive inference for
    regression" (split conformal prediction).
    """
    rank = math.ceil((len(errors) + 1) * coverage)
    return float(np.sort(errors)[rank - 1]) if rank <= len(errors) else None


def check_previous(previous: Model, classes: Sequence[str], *, several: bool = False) -> None:
    """See that an older model can be compared with one of these classes, or of a number where there are none.

    `several`: the classes are labels, of which any number may hold.

    Raises:
        ModelError: it gives something else, or knows not one of the classes.
    """
    name = previous.card.name
    if not classes:
        if not previous.is_regression:
            raise ModelError(
                f"{name}: gives no number; expected an older regression (previous). Choose another model."
            )
        return
    previous.require_classifier()
    if previous.is_multilabel != several:
        kinds = {True: "says which labels hold", False: "gives one class"}
        raise ModelError(
            f"{name}: {kinds[previous.is_multilabel]}; expected an older model that {kinds[several]} (previous). "
            "Choose another model."
        )
    if not any(label.id in classes or label.name in classes for label in previous.card.labels):
        raise ModelError(
            f"{name}: knows not one of the classes {listed(list(classes))}; expected an older model of them "
            "(previous). Choose another model."
        )


def predictions_of(
    previous: Model, examples: Sequence[Example], classes: Sequence[str], *, several: bool = False
) -> Previous:
    """What an older model gives for the same images: the index of one of `classes`, -1 for any other; or a value.

    `several`: 1 where it gives all labels of an image rightly, else 0; those that are none of `classes` do not count.
    An image that its decoder refuses counts as -1, or NaN.

    Raises:
        ModelError: the model gives features.
    """
    items = [(example.item, example) for example in examples]
    predicted: list[float] = []
    ours: Mapping[int, int] = {}  # from its classes to ours
    index = {name: i for i, name in enumerate(classes)}
    if classes:
        previous.require_classifier()
        ours = {
            i: index.get(label.id, index.get(label.name, -1)) for i, label in enumerate(previous.card.labels)
        }
    for batch in decoded_batches(items, previous.card.preprocessing, previous.batch_size):
        rows: Iterator[float] = iter(())
        if len(batch.pixels) and several:
            likely = previous.probabilities(batch.pixels)
            answered = [{ours[i] for i in previous.holding(row)} - {-1} for row in likely]
            truth = [{index[name] for name in example.holding if name in index} for _, example in batch.good]
            rows = (float(a == b) for a, b in zip(answered, truth, strict=True))
        elif len(batch.pixels) and classes:
            rows = (ours[int(best)] for best in previous.probabilities(batch.pixels).argmax(axis=1))
        elif len(batch.pixels):
            rows = iter(previous.values(batch.pixels).tolist())
        unread = -1 if classes else math.nan
        predicted += [unread if i in batch.failures else next(rows) for i in range(len(batch.items))]
    return Previous(
        previous.card.name, np.array(predicted, np.int64) if classes else np.array(predicted, np.float64)
    )
