"""What a fine-tuning run found out: plain arrays and values, from which the whole report is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from finetune.dataset.examples import Split
from finetune.dataset.task import Task
from finetune.report.shown import Shown
from finetune.trust.class_curve import Slope
from finetune.trust.measures import Share, accuracy
from models.card import CROSS_FITTING, html_table
from models.errors import InputError
from models.wording import counted, listed, percent

# What the numbers are about: a split, or all images, each held out once from a model that has not learned from it.
Measured = Split | Literal["cross-fitting"]  # `models.card.CROSS_FITTING`
EVALUATION = "evaluation"  # in place of a method
_QUALITY: Mapping[Task, str] = {
    "classification": "Accuracy", "multilabel": "All labels right", "regression": "Error",
}  # fmt: skip
Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class RateSearch:
    """The learning-rate finder's curve: the loss as the rate was raised, and the rate that was taken."""

    rates: Floats  # (K,), rising
    losses: Floats  # (K,)
    chosen: float


@dataclass(frozen=True)
class History:
    """What was measured after each epoch; (E,) each, NaN where an epoch has no such number."""

    train_loss: Floats
    val_loss: Floats | None = None  # None: no validation images
    train_accuracy: Floats | None = None  # 0 to 1; None in a regression
    val_accuracy: Floats | None = None
    best: int = 0  # index of the epoch whose weights were kept
    rate_search: RateSearch | None = None
    # At the temperature that makes it lowest, which calibration will choose: the number that decides which epoch is
    # kept. None where it is not measured: `val_loss` decides.
    val_refined: Floats | None = None
    first: int = 1  # number of the first epoch; 0 is what training began with
    val_images: int | None = None  # that `val_*` are of; None: those of the split for validation

    @property
    def deciding(self) -> Floats | None:
        """The validation loss that decides which epoch is kept."""
        return self.val_loss if self.val_refined is None else self.val_refined


@dataclass(frozen=True)
class LearningPoint:
    """How good the method is with fewer training samples. Scores are accuracies 0 to 1, or R² in a regression."""

    samples: int
    train: float  # on the samples that were learned from
    val: float | None
    test: float | None
    seconds: float  # of the fit alone; features were there already
    # (B,) scores on resamples of the validation images (of the test, where there are none): the b-th resample is of the
    # same images at all points.
    resampled: Floats | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Growth:
    """What twice the training samples would bring by the learning curve: points of the score, 0 to 1."""

    gain: float
    interval: tuple[float, float] | None  # 95 %; None where nothing tells
    rising: bool | None  # None where it cannot be told

    def words(self) -> str:
        """ "+3.1 points (1.2 to 4.9, 95 % confidence)"."""
        text = f"{100 * self.gain:+.1f} points"
        if self.interval is None:
            return text
        low, high = self.interval
        return f"{text} ({100 * low:.1f} to {100 * high:.1f}, 95 % confidence)"


@dataclass(frozen=True)
class Rejection:
    """The threshold for "none of these". Scores are larger where an image is less like anything known."""

    kind: str  # what the score is, such as "energy"
    threshold: float  # an image with a larger score is rejected
    known: Floats  # (N,), of the measured images, in their order
    unknown: Floats | None = None  # (U,), of images that belong to none of the classes
    auroc: float | None = None  # None: computed from the scores, where there are unknown ones
    measured: str = ""  # how, as words behind "measured": "on 40 images that are none of the classes"
    # Where 95 of 100 later figures are to be expected: of one more missing class, or of more such images.
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Traits:
    """What measured images have in common besides their classes, (N,) each in their order."""

    sides: Ints  # pixels of the shorter side
    brightness: Floats  # mean of all pixels, 0 to 255
    groups: Ints  # of near-duplicates, and of what the source calls a group; -1: it is alone
    names: Mapping[int, str] = field(default_factory=dict)  # of an image of each group


@dataclass(frozen=True)
class Previous:
    """What an older model answers on the same measured images, in their order."""

    name: str
    # (N,): class indices, -1 for a class that is none of ours; 1 where all labels are right; values in a regression.
    predicted: Ints | Floats
    rows: Ints | None = None  # of the measured images, those that it was measured on as well; None: all


@dataclass(frozen=True)
class Candidate:
    """A backbone that was tried with a light head. `score`: accuracy 0 to 1, or the mean absolute error of numbers."""

    name: str
    score: float
    interval: tuple[float, float]  # 95 % of the score
    milliseconds: float  # an image, of the frozen part, on the machine of the run
    octets: int  # of its file


@dataclass(frozen=True)
class Candidates:
    """Backbones that were tried on the same images, none of them for the test, before one was taken."""

    rows: tuple[Candidate, ...]
    taken: int  # index of the row
    images: int
    words: str  # why that one


@dataclass(frozen=True)
class Interval:
    """The range that a regression gives around each value."""

    level: float  # how many of the true values it should hold, such as 0.9
    low: Floats  # (N,)
    high: Floats  # (N,)


@dataclass(frozen=True)
class ProofResult:
    """What a fresh process gave for the finished file, against the training session's own answers."""

    images: int
    largest: float  # largest absolute difference of any probability or value
    tolerance: float = 1e-4


@dataclass(frozen=True, repr=False)
class Findings:
    """All that a report is made of. What is None is left out of the report, with a sentence that says so.

    "Measured images" are the N images of `measured_on` that the numbers are about; `ids`, `truth`, `before`, `after`,
    `values` and others of shape (N, ...) are in one order.

    Attributes:
        title: what the model is for, such as the name of the folder.
        model: the backbone's name.
        method: sklearn, head or blocks, as it was asked for; `EVALUATION` where a model was only measured.
        task: classification, multilabel or regression.
        classes: names in the order of the outputs, classes or labels; empty in a regression.
        counts: images of each split, int64 (classes,); in a regression (1,).
        images: images of each split, where they are not the sum of `counts`: one may have several labels, or none.
        settings: everything that was asked for or chosen; values that JSON knows.
        backbone: more about the backbone in words: weights, cut, features.
        file: name of the finished model file.
        file_bytes: its size.
        measured_on: "test"; or, where there are no test images, "cross-fitting" or "val".
        procedure: in words, which images were learned from, held out and measured on.
        ids: names of the measured images, N of them.
        truth: int64 (N,) class indices, bool (N, classes) of labels that hold, or float (N,) numbers in `unit`. None:
            nothing was measured.
        before: probabilities without temperature, float (N, classes).
        after: probabilities as the file gives them.
        temperature: what the logits are divided by.
        thresholds: from which probability on each label holds, (classes,), of a multilabel.
        values: what a regression gives, float (N,).
        interval: the range around each of `values`.
        unit: unit of the targets of a regression, such as "kg".
        history: measured during training.
        learning_curve: the same method with fewer samples.
        class_slopes: how the error of classes falls with their images, by the index of the class.
        rejection: the threshold for "none of these".
        strangers: what the model says to images that come with the package and are none of its classes.
        leaks: indices of measured images that have a duplicate among the training images. None: not looked for.
        traits: sizes, brightness and near-duplicates of the measured images. None: not looked at.
        previous: an older model's answers.
        timings: seconds of each stage, in their order.
        failed: (image, reason) of images that could not be read.
        warnings: sentences about the data or the run.
        proof: whether the file says what the training session says.
        candidates: backbones that were tried before this one was taken.
        commands: command lines that use the file next.
    """

    title: str
    model: str
    method: str
    task: Task = "classification"
    classes: tuple[str, ...] = ()
    counts: Mapping[Split, Ints] = field(default_factory=dict)
    images: Mapping[Split, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    backbone: str = ""
    file: str = "model.onnx"
    file_bytes: int | None = None
    measured_on: Measured = "test"
    procedure: str = ""
    ids: tuple[str, ...] = ()
    truth: Ints | Floats | NDArray[np.bool_] | None = None
    before: Floats | None = None
    after: Floats | None = None
    temperature: float | None = None
    thresholds: tuple[float, ...] = ()
    values: Floats | None = None
    interval: Interval | None = None
    unit: str = ""
    history: History | None = None
    learning_curve: tuple[LearningPoint, ...] | None = None
    class_slopes: Mapping[int, Slope] = field(default_factory=dict)
    rejection: Rejection | None = None
    strangers: tuple[Shown, ...] = ()
    leaks: Ints | None = None
    traits: Traits | None = None
    previous: Previous | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    failed: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    proof: ProofResult | None = None
    candidates: Candidates | None = None
    commands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together.

        Raises:
            InputError: an array of another length than `ids`, or an index out of range.
        """
        images, classes = len(self.ids), len(self.classes)
        self._expect("truth", self.truth, (images, classes) if self.task == "multilabel" else (images,))
        self._expect("before", self.before, (images, classes))
        self._expect("after", self.after, (images, classes))
        self._expect("values", self.values, (images,))
        if self.interval:
            self._expect("interval.low", self.interval.low, (images,))
            self._expect("interval.high", self.interval.high, (images,))
        if self.rejection:
            self._expect("rejection.known", self.rejection.known, (images,))
        if self.traits:
            for name in ("sides", "brightness", "groups"):
                self._expect(f"traits.{name}", getattr(self.traits, name), (images,))
        if self.previous:
            self._expect("previous.predicted", self.previous.predicted, (images,))
        for split, array in self.counts.items():
            self._expect(f"counts[{split!r}]", array, (max(classes, 1),))
        if self.history:
            self._expect_history(self.history)
        if self.task == "classification" and self.truth is not None:
            _within("truth", self.truth, classes)
        if self.thresholds and len(self.thresholds) != classes:
            raise InputError(
                f"thresholds are {len(self.thresholds)}; expected one for each of {classes} labels."
            )
        if self.leaks is not None:
            _within("leaks", self.leaks, images)

    @property
    def split_images(self) -> dict[Split, int]:
        """How many images each split has."""
        return {split: self.images.get(split, int(counts.sum())) for split, counts in self.counts.items()}

    @property
    def cross_fitted(self) -> bool:
        """Whether each image was measured by a model that had not learned from it, and the finished one has."""
        return self.measured_on == CROSS_FITTING

    @property
    def evaluation(self) -> bool:
        """Whether these are about a model that was measured alone, and not trained here."""
        return self.method == EVALUATION

    @property
    def measured(self) -> bool:
        """Whether there are answers whose truth is known."""
        answers = self.values if self.task == "regression" else self.after
        return self.truth is not None and len(self.truth) > 0 and answers is not None

    def summary(self) -> dict[str, str]:
        """What a person asks first of a run: headings and short texts, which may be empty."""
        images = counted(len(self.ids), "image")
        images += ", each held out once" if self.cross_fitted else f" of {self.measured_on}"
        quality = ""
        if self.measured and self.after is not None:
            right = self._right(self.after)
            low, high = right.interval
            quality = f"{100 * right.value:.1f} % ({100 * low:.1f} to {100 * high:.1f}) on {images}"
        elif self.measured and self.values is not None:
            error = float(np.abs(self.values - np.asarray(self.truth)).mean())
            quality = f"off by {error:.3g} {self.unit}".rstrip() + f" on {images}"
        counts = [f"{images:,} for {split}" for split, images in self.split_images.items() if images]
        return {
            "Findings": self.title,
            "Method": f"{self.method} on {self.backbone or self.model}",
            "Tried": self._tried(),
            "Labels" if self.task == "multilabel" else "Classes": listed(self.classes),
            "Images": ", ".join(counts),
            "Procedure": self.procedure,
            _QUALITY[self.task]: quality,
            "Warnings": "; ".join(self.warnings),
        }

    def _right(self, probabilities: Floats) -> Share:
        """How many images are right; of labels, those with all of them right."""
        if self.task == "classification":
            return accuracy(np.asarray(self.truth), probabilities.argmax(axis=1))
        answered = probabilities >= np.asarray(self.thresholds or [0.5] * len(self.classes))
        return Share(int((answered == np.asarray(self.truth, bool)).all(axis=1).sum()), len(self.ids))

    def _tried(self) -> str:
        if self.candidates is None:
            return ""
        shown = "off by {:.3g}".format if self.task == "regression" else percent
        rows = (
            f"{row.name} {shown(row.score)} in {row.milliseconds:.1f} ms an image"
            for row in self.candidates.rows
        )
        return f"{'; '.join(rows)}. {self.candidates.words}"

    def __repr__(self) -> str:
        """`<Findings photos: head on graft-mini up to pool; 88.2 % (83.0 to 92.0) on 200 images of test>`."""
        texts = self.summary()
        quality = texts[_QUALITY[self.task]] or "nothing measured"
        return f"<Findings {self.title}: {texts['Method']}; {quality}>"

    def _repr_html_(self) -> str:
        return html_table(self.summary())

    def _expect_history(self, history: History) -> None:
        epochs = len(history.train_loss)
        for name in ("val_loss", "val_refined", "train_accuracy", "val_accuracy"):
            self._expect(f"history.{name}", getattr(history, name), (epochs,))
        if epochs and not 0 <= history.best < epochs:
            raise InputError(f"history.best is {history.best}; expected an epoch, 0 to {epochs - 1}.")

    @staticmethod
    def _expect(name: str, array: NDArray[Any] | None, shape: tuple[int, ...]) -> None:
        if array is not None and array.shape != shape:
            raise InputError(f"{name} has shape {array.shape}; expected {shape}, to go with the others.")


def _within(name: str, indices: NDArray[Any], end: int) -> None:
    if indices.size and (indices.min() < 0 or indices.max() >= end):
        raise InputError(
            f"{name} goes from {indices.min()} to {indices.max()}; expected indices 0 to {end - 1}."
        )
