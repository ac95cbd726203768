"""The model card: what a model file says about itself, stored as JSON in its ONNX metadata."""

from __future__ import annotations

import dataclasses
import functools
import html
import json
import math
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from models.card_json import built, finite
from models.errors import ModelError
from models.metadata import put_entry
from models.preprocessing import Preprocessing
from models.wording import composed, counted, listed, percent

if typing.TYPE_CHECKING:
    from onnx import ModelProto

KEY = "graft.card"  # of the ONNX metadata entry
ANY_SIZE = "graft.any-size"  # of that in its place in files that resize photos themselves: `models.any_size`
FORMAT = 4  # the lowest that can hold a card is written: earlier versions read no later one
MAX_BATCH = 4096
# Fields of the card that are left out of it where they are empty.
_SINCE_2 = ("reject", "target", "splits", "regression")
_SINCE_4 = ("thresholds",)
_SHOWN = 8  # classes that a summary names
_AMBIGUOUS = -1  # the index of a spelling that two classes have


@dataclass(frozen=True)
class Label:
    """A class: a stable id (a WordNet id, a folder's name) and the name that people read."""

    id: str
    name: str


@dataclass(frozen=True)
class Normalization:
    """What the graph does to the pixels: (x / 255 - mean) / std for each of R, G, B."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


Scale = Literal["imagenet", "-1..1", "0..1", "0..255", "caffe"]
Channels = Literal["rgb", "bgr"]
# Of a classification one class holds; of "multilabel" each label by itself, with a probability of its own.
Task = Literal["classification", "multilabel", "features", "regression"]
SCALES: Mapping[Scale, Normalization] = {
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "-1..1": Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "0..1": Normalization(),
    "0..255": Normalization((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
    # Source: keras/src/applications/imagenet_utils.py, mode "caffe": the mean of R, G, B is taken off.
    "caffe": Normalization((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255)),
}


@dataclass(frozen=True)
class Cut:
    """A tensor at which the network can be cut; `shape` is without the batch, -1 where it is not fixed."""

    name: str
    shape: tuple[int, ...]


# In place of a split: every image, asked of a model that had not learned from it.
CROSS_FITTING = "cross-fitting"


def _where(data: str, split: str) -> str:
    return f"{data}, each held out once" if split == CROSS_FITTING else f"{data} {split}"


@dataclass(frozen=True)
class Accuracy:
    """A measured or published figure: on what, how well (0 to 1), and how it was obtained."""

    data: str
    split: str
    images: int
    top1: float
    top5: float | None = None
    source: str = ""  # the command that measured it, or where it was published
    interval: tuple[float, float] | None = None  # 95 % confidence interval of top1

    @property
    def where(self) -> str:
        """Data and split in words."""
        return _where(self.data, self.split)


@dataclass(frozen=True)
class Target:
    """The number that a regression gives, and how far from it the truth may be.

    The truth lies within `half_width` of the answer with probability `coverage`, as measured on images that were not
    trained on (split conformal prediction); None where it was not measured.
    """

    name: str = "value"
    unit: str = ""
    half_width: float | None = None
    coverage: float | None = None


@dataclass(frozen=True)
class Regression:
    """How far a regression is from the truth: on what, and in the unit of its target."""

    data: str
    split: str
    images: int
    mse: float
    mae: float
    r2: float | None = None  # None where all targets are equal
    source: str = ""

    @property
    def where(self) -> str:
        """Data and split in words."""
        return _where(self.data, self.split)


@dataclass(frozen=True)
class Reject:
    """From which score on an image is none of the classes, and how well that works."""

    threshold: float  # an image that scores above it is none of them
    kept: float  # share of known images below it
    auroc: float | None = None  # that an unknown image scores above a known one; 0.5 is chance
    measured: str = ""  # how auroc was, in words
    kind: str = ""  # of the score
    # Where 95 of 100 later figures are to be expected: of one more missing class, or of more such images.
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Splits:
    """How many images a model was trained, validated and tested on."""

    train: int
    val: int
    test: int


@dataclass(frozen=True, repr=False)
class ModelCard:
    """Everything that is needed to use a model file rightly."""

    name: str
    task: Task
    preprocessing: Preprocessing
    normalization: Normalization = Normalization()
    channels: Channels = "rgb"  # in which order the graph hands the normalised colours to the network
    labels: tuple[Label, ...] = ()
    cuts: tuple[Cut, ...] = ()
    version: str = "1"
    licence: str = ""
    source: str = ""
    weights_sha256: str = ""
    description: str = ""
    accuracy: tuple[Accuracy, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    temperature: float | None = None  # logits are divided by it before the softmax
    batch_size: int | None = None  # set where the graph takes only this many images at a time
    reject: Reject | None = None
    target: Target | None = None  # of a regression
    splits: Splits | None = None
    regression: tuple[Regression, ...] = ()
    # Of a multilabel, for each label the probability from which on it holds; empty: 1/2 for all.
    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no run could follow."""
        if self.batch_size is not None and not 1 <= self.batch_size <= MAX_BATCH:
            raise ValueError(f"batch_size is {self.batch_size}; expected 1 to {MAX_BATCH}")
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}; expected a finite number above 0")
        if self.reject is not None and not math.isfinite(self.reject.threshold):
            raise ValueError(f"the reject threshold is {self.reject.threshold}; expected a finite number")
        width = self.target.half_width if self.target is not None else None
        if width is not None and not 0 <= width < math.inf:
            raise ValueError(f"half_width is {width}; expected a finite number of at least 0")
        if self.thresholds and (
            len(self.thresholds) != len(self.labels) or not all(0 < one < 1 for one in self.thresholds)
        ):
            raise ValueError(
                f"thresholds are {self.thresholds[:5]} for {len(self.labels)} labels; expected one above 0 and below 1 "
                "for each"
            )

    def __repr__(self) -> str:
        """`<ModelCard graft-mini: classification, 200 classes, input 64 x 64>`: labels come by the thousand."""
        return f"<ModelCard {self.brief()}>"

    def _repr_html_(self) -> str:
        return html_table(self.summary())

    def brief(self) -> str:
        """The model in one line: name, task, classes and input size."""
        height, width = self.preprocessing.size
        word = "label" if self.task == "multilabel" else "class"
        classes = f", {counted(len(self.labels), word)}" if self.labels else ""
        return f"{self.name}: {self.task}{classes}, input {height} x {width}"

    def summary(self) -> dict[str, str]:
        """What a person asks first of a model: headings and short texts, which may be empty."""
        height, width = self.preprocessing.size
        every = " with all labels right" if self.task == "multilabel" else ""
        return {
            "Model": f"{self.name}, version {self.version}",
            "Description": self.description,
            "Task": self.task,
            "Classes": listed([label.name for label in self.labels], _SHOWN),
            "Input": f"{height} x {width}, {self.preprocessing.resize}, {self.preprocessing.interpolation}",
            "Accuracy": "; ".join(
                [
                    f"{percent(one.top1)}{every} on {one.images:,} images of {one.data}"
                    for one in self.accuracy
                ]
                + [f"off by {one.mae:.3g} on {one.images:,} images of {one.data}" for one in self.regression]
            ),
            "Cut points": ", ".join(cut.name for cut in self.cuts),
            "Licence": self.licence,
        }

    def to_json(self) -> str:
        """The card as JSON text, in the lowest format that can hold it.

        Raises:
            ValueError: a number outside `training` is NaN or infinite, which JSON lacks; inside it becomes null.
        """
        values = dataclasses.asdict(self) | {"preprocessing": self.preprocessing.to_json()}
        values["training"] = finite(values["training"])
        written = 2 if self.task == "regression" else 1
        if self.preprocessing.resize == "pad" or self.channels != "rgb" or self.task == "multilabel":
            written = 3
        if self.channels == "rgb":
            del values["channels"]
        for row, name, since in [
            *((values, name, 2) for name in _SINCE_2),
            *((values, name, 4) for name in _SINCE_4),
            *((a, "interval", 2) for a in values["accuracy"]),
            *((values["reject"], "interval", 4) for _ in [self.reject] if self.reject is not None),
        ]:
            if row[name]:
                written = max(written, since)
            else:
                del row[name]
        return json.dumps({"format": written, **values}, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, where: str = "the model") -> ModelCard:
        """Read a card. `where` names the file in errors.

        Raises:
            ModelError: not a card, or one of a later format.
        """
        try:
            values = json.loads(text)
            written = values.pop("format")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as exc:
            raise ModelError(
                f"{where}: its model card cannot be read ({exc!r}). Import the model again."
            ) from exc
        if written not in range(1, FORMAT + 1):
            raise ModelError(
                f"{where}: its model card has format {written}; this version reads 1 to {FORMAT}. Update graft."
            )
        if values.get("reject_threshold", 0) is None:  # never more than a place for what is now `reject`
            del values["reject_threshold"]
        try:
            card = built(cls, values)
        except (ValueError, KeyError, TypeError) as exc:
            raise ModelError(f"{where}: its model card is wrong ({exc}). Import the model again.") from exc
        return typing.cast(ModelCard, card)

    @property
    def holds_from(self) -> tuple[float, ...]:
        """Of a multilabel, the probability from which on each label holds: its threshold, or 1/2."""
        return self.thresholds or (0.5,) * len(self.labels)

    def label(self, key: str) -> int | None:
        """Index of the class whose id or name is `key`; the first of a comma-separated name counts too.

        As it is written first, then in Unicode's composed form, then whatever the case; None where two classes are
        meant alike.
        """
        for fold, indices in self._keys.items():
            index = indices.get(fold(key))
            if index is not None:
                return None if index == _AMBIGUOUS else index
        return None

    @functools.cached_property
    def _keys(self) -> dict[Callable[[str], str], dict[str, int]]:
        """For each way to compare, from a spelling to the index of its class; ids go before names."""
        ids = [label.id for label in self.labels]
        names = [label.name for label in self.labels]
        spellings = (ids, names, [name.split(",")[0] for name in names])
        return {fold: _indices(spellings, fold) for fold in (str, composed, _caseless)}


def _caseless(text: str) -> str:
    return composed(composed(text).casefold())


def _indices(spellings: Iterable[Sequence[str]], fold: Callable[[str], str]) -> dict[str, int]:
    """From each spelling, folded, to its class; the first list that has it decides, unless two of its classes do."""
    known: dict[str, int] = {}
    for row in spellings:
        own: dict[str, int] = {}
        for index, spelling in enumerate(row):
            key = fold(spelling)
            own[key] = index if own.get(key, index) == index else _AMBIGUOUS
        known = own | known
    return known


def html_table(rows: Mapping[str, str]) -> str:
    """A table for notebooks: a heading and a text in each row; those without text are left out."""
    lines = (f"<tr><th>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in rows.items() if b)
    return f"<table>{''.join(lines)}</table>"


def write_card(model: ModelProto, card: ModelCard) -> None:
    """Put the card into an ONNX model's metadata, in place of any that is there."""
    put_entry(model, KEY, card.to_json())


def card_of(model: ModelProto, where: str = "the model") -> ModelCard | None:
    """The card in an ONNX model, or None where it was not written by Graft.

    Raises:
        ModelError: there is a card, and it cannot be read.
    """
    return read_card({entry.key: entry.value for entry in model.metadata_props}, where)


def read_card(metadata: Mapping[str, str], where: str = "the model") -> ModelCard | None:
    """The card in a model's metadata, or None where the model was not written by Graft.

    Raises:
        ModelError: there is a card, and it cannot be read, or the file is for other runtimes.
    """
    refuse_any_size(metadata, where)
    text = metadata.get(KEY)
    return None if text is None else ModelCard.from_json(text, where)


def refuse_any_size(metadata: Mapping[str, str], where: str) -> None:
    """Refuse a file that resizes photos itself.

    Raises:
        ModelError: it is one.
    """
    if ANY_SIZE in metadata:
        raise ModelError(
            f"{where}: an any-size file, which takes one photo of any size and resizes it itself. It is for other "
            "runtimes (onnxruntime-web, C#, Java): give them pixels, get probabilities. Graft decodes and resizes by "
            "itself: give it the model that this file was made from."
        )
