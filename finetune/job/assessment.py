"""What a trained top is worth: its answers for held-out images, its temperature, its threshold, its curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_extraction.batches import decoded_batches
from finetune.dataset.examples import Example, Split
from finetune.heads.top import Top
from finetune.job.methods import Learned
from finetune.job.preparation import Prepared
from finetune.job.recipe import Recipe
from finetune.report.findings import Floats, Interval, Ints, LearningPoint, Previous
from finetune.report.learning_curve import learning_curve
from finetune.trust.calibration import fit_temperature, probabilities_of
from finetune.trust.evaluation import wilson_interval
from finetune.trust.rejection import Rejector, fit_rejector
from models.errors import NumericsError
from models.model import Model
from models.names import EMBEDDING, FEATURES, LOGITS, VALUE
from models.runtime import Array, OnnxSession, RuntimeConfig

COVERAGE = 0.9  # of the interval around a regression's values
_ROWS = 64  # maps at a time


@dataclass(frozen=True)
class Answers:
    """What a top gives: `embedding` float32 (N, D); `logits` (N, classes), or the values (N,) of a regression."""

    embedding: Array
    logits: Array


@dataclass(frozen=True)
class Assessment:
    """What was found out with held-out images. `measured` is the split that the numbers are about."""

    measured: Split
    answers: Answers  # of the measured images
    temperature: float | None = None
    rejector: Rejector | None = None
    half_width: float | None = None  # of the interval of a regression
    curve: tuple[LearningPoint, ...] | None = None


def run_top(top: Top, features: Array, threads: int | None = None) -> Answers:
    """Run a top on features (N, ...), some rows at a time.

    Raises:
        NumericsError: NaN or infinity among the answers.
    """
    session = OnnxSession(top.model.SerializeToString(), RuntimeConfig("cpu", threads, spinning=False))
    output = VALUE if VALUE in session.outputs else LOGITS
    parts = [
        session.run({FEATURES: np.ascontiguousarray(features[i : i + _ROWS])}, [EMBEDDING, output])
        for i in range(0, max(len(features), 1), _ROWS)
    ]
    embedding, answers = (np.concatenate(values) for values in zip(*parts, strict=True))
    if not np.isfinite(answers).all():
        raise NumericsError(
            "the trained top answers with NaN or infinity. Train it with a lower learning rate."
        )
    return Answers(embedding, answers)


def assess(
    prepared: Prepared,
    learned: Learned,
    recipe: Recipe,
    *,
    unknown: Answers | None = None,
    curve: bool = True,
) -> Assessment:
    """Fit temperature and threshold on validation images, and measure on test images where there are any.

    `unknown`: answers for images that are none of the classes; without, classes are held out in turn.
    """
    top = learned.top
    val_x, val_y = prepared.part("val")
    val = run_top(top, val_x)
    measured: Split = "test" if len(prepared.rows["test"]) else "val"
    answers = run_top(top, prepared.part("test")[0]) if measured == "test" else val
    train_y = prepared.targets[prepared.rows["train"]]
    train = run_top(top, prepared.views[:, 0]).embedding
    points = None
    if curve:
        points = learning_curve(
            learned.refit,
            (train, train_y),
            (val.embedding, val_y),
            (answers.embedding, prepared.part(measured)[1]),
            seed=recipe.seed,
            score=None if prepared.classes else _r2,
        )
    if not prepared.classes:
        return Assessment(measured, answers, half_width=conformal(np.abs(val.logits - val_y)), curve=points)
    others = (unknown.embedding, unknown.logits) if unknown else None
    rejector = fit_rejector(
        train, train_y, val.embedding, val.logits, val_y, unknown=others, keep=recipe.keep, seed=recipe.seed
    )
    return Assessment(measured, answers, fit_temperature(val.logits, val_y), rejector, None, points)


def conformal(errors: Array, coverage: float = COVERAGE) -> float | None:
    """The half-width that holds a new value with probability `coverage`: the error at rank ceil((n + 1) coverage).

    None where there are too few images for that. Source: Lei et al. 2018, "Distribution-free predictive inference for
    regression" (split conformal prediction).
    """
    rank = math.ceil((len(errors) + 1) * coverage)
    return float(np.sort(errors)[rank - 1]) if rank <= len(errors) else None


def probabilities(assessment: Assessment, temperature: float = 1.0) -> Array:
    """Probabilities of the measured images at a temperature, (N, classes)."""
    return probabilities_of(assessment.answers.logits, temperature)


def interval_around(values: Array, half_width: float | None) -> Interval | None:
    """The range in which the true values of a regression are, for the report."""
    return None if half_width is None else Interval(COVERAGE, values - half_width, values + half_width)


def accuracy_of(answers: Array, truth: NDArray[np.int64]) -> tuple[float, tuple[float, float]]:
    """Top-1 accuracy and its 95 % confidence interval."""
    right = int((answers.argmax(axis=1) == truth).sum())
    return right / len(truth), wilson_interval(right, len(truth))


def answers_before(previous: Model, examples: Sequence[Example], classes: Sequence[str]) -> Previous:
    """What an older model answers for the same images: the index of one of `classes`, -1 for any other; or a value.

    Raises:
        ModelError: the model gives features.
    """
    items = [(example.item, None) for example in examples]
    found: list[Any] = []
    labels: Mapping[int, int] = {}
    if classes:
        previous.require_classifier()
        index = {name: i for i, name in enumerate(classes)}
        labels = {
            i: index.get(label.id, index.get(label.name, -1)) for i, label in enumerate(previous.card.labels)
        }
    for batch in decoded_batches(items, previous.card.preprocessing, previous.batch_size):
        if not classes:
            found += list(previous.values(batch.pixels))
            continue
        best = iter(previous.probabilities(batch.pixels).argmax(axis=1) if len(batch.pixels) else ())
        found += [-1 if i in batch.failures else labels[int(next(best))] for i in range(len(batch.items))]
    predicted: Ints | Floats = np.array(found, np.int64) if classes else np.array(found, np.float64)
    return Previous(previous.card.name, predicted)


def _r2(truth: NDArray[Any], values: NDArray[Any]) -> float:
    spread = float(np.square(truth - truth.mean()).sum())
    return 1 - float(np.square(truth - values).sum()) / spread if spread else float("nan")
