"""A model that is ready to run: its card and its session together."""

from __future__ import annotations

import functools
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, overload

import numpy as np
from numpy.typing import NDArray

from models.card import Label, ModelCard, html_table, read_card
from models.errors import ModelError, NumericsError
from models.extras import full_installation
from models.locating import locate
from models.names import INPUT, PROBABILITIES, PROJECTION, REJECT_SCORE, VALUE
from models.preprocessing import ImageSource, is_image_source
from models.runtime import Array, OnnxSession, RuntimeConfig
from models.store import DownloadProgress
from models.wording import percent

# An ONNX file begins with its IR version: the tag of the field, and a number.
_IR_FIELD = 0x08
_IR_VERSION = 10  # as in `models.opset`, which takes onnx, 0.2 s, to import

CLASSIFYING = ("classification", "multilabel")  # tasks


@dataclass(frozen=True, repr=False)
class Prediction:
    """Which class an image may be of, and how probable that is (0 to 1)."""

    index: int
    label: Label
    probability: float

    def __repr__(self) -> str:
        """`<Prediction espresso 93.1 %>`, with the label's id where it says more."""
        label = self.label
        known_as = label.name if label.id == label.name else f"{label.name} ({label.id})"
        return f"<Prediction {known_as} {percent(self.probability)}>"

    def _repr_html_(self) -> str:
        name = html.escape(self.label.name)
        return f'<meter value="{self.probability:.4f}"></meter> {percent(self.probability)} {name}'


@dataclass(frozen=True)
class Answers:
    """What a finished model gives for N images: classes, with a score where it has one, or numbers."""

    probabilities: NDArray[np.float32] | None = None  # (N, classes)
    reject_scores: NDArray[np.float32] | None = None  # (N,)
    # (N,): whether an image is none of the classes; None: the model takes any for one of them.
    rejected: NDArray[np.bool_] | None = None
    values: NDArray[np.float32] | None = None  # (N,), of a regression
    # (N, R): where images lie among those that were learned from; None for files that do not tell. Unchecked.
    projections: NDArray[np.float32] | None = None


class Model:
    """A model file on a device. Safe to use from several threads."""

    def __init__(self, session: OnnxSession, card: ModelCard, notes: Sequence[str] = ()) -> None:
        """Put a session and a card together; `notes` are guesses that the user should hear of."""
        self.session = session
        self.card = card
        self.notes = tuple(notes)
        if session.config.warm_up:
            self.warm_up()

    @classmethod
    def open(
        cls,
        spec: str | Path,
        config: RuntimeConfig | None = None,
        *,
        outputs: Sequence[str] | None = None,
        allow_unpinned: bool = False,
        progress: DownloadProgress | None = None,
    ) -> Model:
        """Open a model of the zoo by name, or any ONNX file by path.

        `outputs`: names of cut points or tensors; the network is cut there, and nothing behind them is computed.
        `allow_unpinned` lets weights be downloaded whose digest is not known; `progress` hears of the download.

        Raises:
            UnknownModelError: no such name or file.
            ModelError: the file is no model, or none that takes images.
            CutError: no such cut point or tensor.
            StoreError: the weights could not be downloaded.
            OutputError: the model that was built from them cannot be written.
            DeviceError: the device cannot be had.
        """
        path = locate(spec, allow_unpinned=allow_unpinned, progress=progress)
        if outputs is None and not _is_newer(path):
            try:
                session = OnnxSession(path, config)
            except ModelError:
                with full_installation(f"{spec}: saying why onnxruntime cannot load it"):
                    from models.loading import require_weights

                    require_weights(path)
                raise
            card = read_card(session.metadata, str(spec))
            if card is not None:
                return cls(session, card)
        # onnx costs 0.2 s to import: only where the graph has to be changed
        change = (
            f"{spec}: cutting a network" if outputs is not None else f"{spec}: a network without a model card"
        )
        with full_installation(change, "There, `graft models import` writes a file that runs here."):
            from models.importing import as_graft_model
            from models.serialized import session_of
            from models.truncation import cut_model

        proto, notes = as_graft_model(path)
        if outputs is not None:
            proto = cut_model(proto, outputs)
        session = session_of(proto, config)
        card = read_card(session.metadata, str(spec))
        if card is None:
            raise ModelError(
                f"{spec}: no model card after import. Import it again with `graft models import`."
            )
        return cls(session, card, notes)

    def __repr__(self) -> str:
        """`<Model graft-mini: classification, 200 classes, input 64 x 64, on cpu>`."""
        return f"<Model {self.card.brief()}, on {self.session.device}>"

    def _repr_html_(self) -> str:
        rows = {**self.card.summary(), "Device": str(self.session.device), "Notes": "; ".join(self.notes)}
        return html_table(rows)

    @property
    def batch_size(self) -> int:
        """How many of many images to run at once: what the graph takes, else what suits the kind of device."""
        return self.card.batch_size or (8 if self.session.device.kind == "cpu" else 64)

    def decode(
        self, source: ImageSource, *, exact: bool = False, name: str | None = None
    ) -> NDArray[np.uint8]:
        """Decode one image for this model: uint8 (H, W, 3).

        Raises:
            ImageError: not an image that can be read.
        """
        return self.card.preprocessing.load(source, exact=exact, name=name)

    def run(
        self,
        batch: NDArray[np.uint8],
        outputs: Sequence[str] | None = None,
        *,
        batch_size: int | None = None,
    ) -> list[Array]:
        """Run decoded images, uint8 (N, H, W, 3), and return the outputs, each with N rows.

        `batch_size` images run at once (None: `self.batch_size`), unless the graph takes another number only.

        Raises:
            FeedError: the batch has another shape or dtype.
        """
        size = self.card.batch_size or batch_size or self.batch_size
        if len(batch) <= size and self._filled(len(batch)) == len(batch):
            return self.session.run({INPUT: batch}, outputs)
        chunks = [self._run_once(batch[i : i + size], outputs) for i in range(0, len(batch), size)]
        return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]

    def _filled(self, count: int) -> int:
        """How many images run where there are `count`: what the graph takes, and on CUDA a power of four, up to 64.

        There each size of batch has a session of its own (`models.per_shape`): of all sizes up to 64 only four come.
        """
        if self.card.batch_size is not None:
            return self.card.batch_size
        if self.session.device.kind != "cuda" or not 0 < count < self.batch_size:
            return count
        return int(4 ** math.ceil((count - 1).bit_length() / 2))

    def _run_once(self, batch: NDArray[np.uint8], outputs: Sequence[str] | None) -> list[Array]:
        """Run as many images as suit the graph and the device, or fewer, filled up with copies of the last."""
        short = self._filled(len(batch)) - len(batch)
        padded = np.concatenate([batch, np.repeat(batch[-1:], short, axis=0)]) if short else batch
        return [values[: len(batch)] for values in self.session.run({INPUT: padded}, outputs)]

    def probabilities(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Class probabilities, float32 (N, classes), of decoded images.

        Raises:
            ModelError: the model gives features, not classes, or another number of classes than its card has labels.
            NumericsError: the model answers with NaN or infinity.
        """
        self.require_classifier()
        return self._checked(self.run(batch, [PROBABILITIES])[0], len(batch))

    def answers(self, batch: NDArray[np.uint8]) -> Answers:
        """All that the model has to say of decoded images, in one run.

        Raises:
            ModelError: the model gives features, or another number of classes than its card has labels.
            NumericsError: the model answers with NaN or infinity.
        """
        names = self.answer_names
        return self.answers_of(dict(zip(names, self.run(batch, names), strict=True)))

    @property
    def answer_names(self) -> tuple[str, ...]:
        """The outputs that answers are made of.

        Raises:
            ModelError: the model gives features.
        """
        if self.is_regression:
            names: tuple[str, ...] = (VALUE,)
        else:
            self.require_classifier()
            names = (PROBABILITIES, REJECT_SCORE) if self.rejects else (PROBABILITIES,)
        return (*names, PROJECTION) if PROJECTION in self.session.outputs else names

    def answers_of(self, outputs: Mapping[str, Array]) -> Answers:
        """Answers out of the outputs of a run, those of `answer_names` at least.

        Raises:
            ModelError, NumericsError: as `answers`.
        """
        projections = outputs.get(PROJECTION)
        if self.is_regression:
            values = outputs[VALUE]
            return Answers(values=self._finite(values, len(values)), projections=projections)
        probabilities = outputs[PROBABILITIES]
        self._checked(probabilities, len(probabilities))
        if self.card.reject is None or not self.rejects:
            return Answers(probabilities, projections=projections)
        scores = self._finite(outputs[REJECT_SCORE], len(probabilities))
        return Answers(probabilities, scores, scores > self.card.reject.threshold, projections=projections)

    def values(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The answers of a regression, float32 (N,), in the unit of its target.

        Raises:
            ModelError: the model gives something else.
            NumericsError: the model answers with NaN or infinity.
        """
        if not self.is_regression:
            raise ModelError(
                f"{self.card.name}: gives {', '.join(self.session.outputs)}; expected a regression, which gives "
                f"`{VALUE}`. Fine-tune one with a number for each image."
            )
        return self._finite(self.run(batch, [VALUE])[0], len(batch))

    @property
    def gives_answers(self) -> bool:
        """Whether the model gives classes or a number, not features."""
        return self.is_regression or (self.card.task in CLASSIFYING and PROBABILITIES in self.session.outputs)

    @property
    def is_regression(self) -> bool:
        """Whether the model gives a number for each image, not classes."""
        return self.card.task == "regression" and VALUE in self.session.outputs

    @functools.cached_property
    def thresholds(self) -> NDArray[np.float32]:
        """From which probability on each label of a multilabel model holds, (labels,)."""
        return np.asarray(self.card.holds_from, np.float32)

    @property
    def is_multilabel(self) -> bool:
        """Whether several labels may hold, each with a probability of its own."""
        return self.card.task == "multilabel"

    def holding(self, probabilities: NDArray[np.float32]) -> list[int]:
        """Indices of the labels that hold by one row of probabilities (labels,), the most probable first."""
        held = np.flatnonzero(probabilities >= self.thresholds)
        return [int(i) for i in held[np.argsort(-probabilities[held], kind="stable")]]

    @property
    def rejects(self) -> bool:
        """Whether the model can tell that an image is none of its classes."""
        return self.card.reject is not None and REJECT_SCORE in self.session.outputs

    def _checked(self, probabilities: NDArray[np.float32], images: int) -> NDArray[np.float32]:
        if probabilities.shape[1:] != (len(self.card.labels),):
            raise ModelError(
                f"{self.card.name}: answers with {list(probabilities.shape)} for {images} images, and its card has "
                f"{len(self.card.labels)} labels; expected one probability for each. Import the network again."
            )
        if not np.isfinite(probabilities).all():
            raise NumericsError(
                f"{self.card.name}: answers with NaN or infinity; expected probabilities. Its weights are damaged, "
                "or half precision is not enough for it: export it again in float32."
            )
        return probabilities

    def _finite(self, numbers: NDArray[np.float32], images: int) -> NDArray[np.float32]:
        """One finite number for each image."""
        if numbers.shape != (images,):
            raise ModelError(
                f"{self.card.name}: answers with {list(numbers.shape)} for {images} images; expected one number for "
                "each. Fine-tune the model again."
            )
        if not np.isfinite(numbers).all():
            raise NumericsError(
                f"{self.card.name}: answers with NaN or infinity; expected numbers. Its weights are damaged: fine-tune "
                "the model again."
            )
        return numbers

    @overload
    def classify(  # type: ignore[overload-overlap]  # a path is a sequence of characters too
        self, sources: ImageSource, top_k: int = 5
    ) -> list[Prediction]: ...

    @overload
    def classify(self, sources: Iterable[ImageSource], top_k: int = 5) -> list[list[Prediction]]: ...

    def classify(
        self, sources: ImageSource | Iterable[ImageSource], top_k: int = 5
    ) -> list[Prediction] | list[list[Prediction]]:
        """The `top_k` most probable classes of one image, best first; of several images, a list for each.

        Raises:
            ImageError: one of the images cannot be read.
            ModelError: the model gives features, not classes.
        """
        self.require_classifier()
        if is_image_source(sources):
            return self.classify([sources], top_k)[0]
        pixels = [self.decode(source) for source in cast("Iterable[ImageSource]", sources)]
        return [self.top(row, top_k) for row in self.probabilities(np.stack(pixels))] if pixels else []

    def top(self, probabilities: NDArray[np.float32], top_k: int = 5) -> list[Prediction]:
        """The best `top_k` of one row of probabilities, best first; equal ones in the order of the labels."""
        labels = self.card.labels
        if 0 < top_k < len(probabilities):  # to sort all of a thousand takes longer than the rest of this
            candidates = np.flatnonzero(probabilities >= np.partition(probabilities, -top_k)[-top_k])
            order = candidates[np.argsort(-probabilities[candidates], kind="stable")[:top_k]]
        else:
            order = np.argsort(-probabilities, kind="stable")[:top_k]
        return [Prediction(int(i), labels[i], float(probabilities[i])) for i in order]

    def require_classifier(self) -> None:
        """Raise a ModelError unless the model gives probabilities of classes."""
        if self.card.task not in CLASSIFYING or PROBABILITIES not in self.session.outputs:
            if self.is_regression:
                raise ModelError(
                    f"{self.card.name}: gives a number, not classes. Use it with `graft classify` or `graft evaluate` "
                    "on the command line, or `Model.values`."
                )
            raise ModelError(
                f"{self.card.name}: gives features ({', '.join(self.session.outputs)}), not classes. "
                "Use it with `graft features`, or fine-tune it on labelled images first."
            )

    def warm_up(self) -> None:
        """Run a blank image, so that allocations and kernel choices are made."""
        height, width = self.card.preprocessing.size
        self.run(np.zeros((1, height, width, 3), np.uint8))


def _is_newer(path: Path) -> bool:
    """Whether a file begins with an IR version above the one that everything written here declares."""
    try:
        with path.open("rb") as file:
            head = file.read(2)
    except OSError:  # said when it is opened
        return False
    return len(head) == 2 and head[0] == _IR_FIELD and head[1] > _IR_VERSION
