"""What every way of explaining a photo shares: the network that is asked, the classes, and the map that comes out."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from PIL import Image

from finetune.explain.geometry import Box, Floats, full_photo, on_photo, peak_on_photo, smooth, visible_box
from models.card import Label, ModelCard, card_of
from models.errors import InputError, ModelError, NumericsError
from models.importing import as_graft_model
from models.locating import locate
from models.model import Model
from models.names import LOGITS, PROBABILITIES, VALUE
from models.preprocessing import ImageSource
from models.runtime import RuntimeConfig
from models.serialized import session_of
from models.truncation import cut_model

_LISTED = 40  # classes that an error names all of


@dataclass(frozen=True)
class Heatmap:
    """Where a network looks for one class; 1 where the most speaks for it, 0 where nothing does.

    `network`: at the network's input size, (height, width). `photo`: at the size of the upright photo, 0 outside of
    `box`, the part that preprocessing shows to the network. `raw`: the numbers of the method, (rows, columns), before
    they are divided by the largest. `peak`: (x, y) where the most speaks for it, in pixels of the whole upright photo;
    None where nothing does. `cut`: the tensor at which they were taken. `probability` is None in a regression, whose
    value is `value`.
    """

    label: Label
    probability: float | None
    value: float | None
    cut: str
    raw: Floats
    network: Floats
    photo: Floats
    box: Box
    peak: tuple[int, int] | None


@dataclass(frozen=True)
class Subject:
    """A network with classes or a value at its end, before it is opened for a method.

    `goal`: the tensor whose slopes count, the logits or the value. `answer`: the one that says how sure it is.
    """

    proto: ModelProto
    card: ModelCard
    goal: str
    answer: str
    notes: tuple[str, ...] = ()

    def opened(self, tensors: Sequence[str], config: RuntimeConfig) -> Model:
        """The network, cut to `tensors`, ready to run."""
        whole = cut_model(self.proto, list(tensors))
        return Model(session_of(whole, config), replace(self.card, cuts=()))


def subject_of(spec: str | Path | ModelProto) -> Subject:
    """The network that is to be explained.

    Raises:
        UnknownModelError: no such name or file.
        ModelError: not a model of images, or one that gives features only.
    """
    proto, notes = (spec, ()) if isinstance(spec, ModelProto) else as_graft_model(locate(spec))
    card = card_of(proto)
    if card is None:
        raise ModelError("the model has no card. Import it with `graft models import`.")
    if card.task == "features":
        raise ModelError(
            f"{card.name}: gives features, not classes, so there is nothing for a photo to speak for. Fine-tune it "
            "on labelled images first."
        )
    goal, answer = (VALUE, VALUE) if card.task == "regression" else (LOGITS, PROBABILITIES)
    return Subject(proto, card, goal, answer, tuple(notes))


class Explainer(ABC):
    """A network that is asked what in a photo speaks for a class; one opened for any number of photos."""

    cut: str
    card: ModelCard
    notes: tuple[str, ...]
    _model: Model

    def explain(
        self,
        image: ImageSource,
        labels: Sequence[str] = (),
        *,
        top_k: int | None = None,
        name: str | None = None,
    ) -> list[Heatmap]:
        """A heat map for each of `labels` (ids or names), or for the `top_k` most probable classes.

        With neither for the most probable one; where several labels may hold, for all that do, if there are some.

        Raises:
            ImageError: not an image that can be read.
            InputError: no such class.
            NumericsError: the network answers with NaN or infinity.
        """
        photo = full_photo(image, name)
        pixels = self._model.decode(photo if isinstance(image, Image.Image) else image, name=name)
        return self.explain_pixels(pixels, photo.size, photo.size, labels, top_k=top_k)

    def explain_pixels(
        self,
        pixels: NDArray[np.uint8],
        size: tuple[int, int],
        shown: tuple[int, int],
        labels: Sequence[str] = (),
        *,
        top_k: int | None = None,
    ) -> list[Heatmap]:
        """As `explain`, of the (H, W, 3) that preprocessing has made of an image.

        `size`: (width, height) of the upright photo; `shown`: of a copy of it, to which `photo` and `box` of the maps
        belong.

        Raises:
            InputError, NumericsError: as `explain`.
        """
        seen, answer = self._look(pixels)
        if not (np.isfinite(seen).all() and np.isfinite(answer).all()):
            raise NumericsError(f"{self.card.name}: answers with NaN or infinity on this image.")
        across, down = shown[0] / size[0], shown[1] / size[1]
        whole = left, top, right, bottom = visible_box(self.card.preprocessing, size)
        box = (left * across, top * down, right * across, bottom * down)
        heatmaps = []
        for index in self._indices(labels, answer, top_k):
            raw = self._raw(seen, answer, index)
            spread = self._spread(raw)
            network = np.clip(spread, 0.0, 1.0)
            heatmaps.append(
                Heatmap(
                    self.card.labels[index]
                    if index is not None
                    else Label(VALUE, self.card.target.name if self.card.target else VALUE),
                    None if index is None else float(answer[index]),
                    float(answer[0]) if index is None else None,
                    self.cut,
                    raw,
                    network,
                    on_photo(network, box, shown),
                    box,
                    # Of the clipped map it would be the first of all places that are 1.
                    peak_on_photo(spread, whole, size),
                )
            )
        return heatmaps

    @abstractmethod
    def _look(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[Any], Floats]:
        """What the method needs to know of an image's pixels (H, W, 3), and the answer: (classes,), or (1,)."""

    @abstractmethod
    def _raw(self, seen: NDArray[Any], answer: Floats, index: int | None) -> Floats:
        """What speaks for class `index` (None: for a larger value), (rows, columns), never below 0."""

    def _spread(self, raw: Floats) -> Floats:
        """The raw map at the input's size, about from 0 to 1: what lies beyond is cut off for the eye."""
        return smooth(raw / max(float(raw.max()), 1e-30), self.card.preprocessing.size)

    def _indices(self, labels: Sequence[str], answer: Floats, top_k: int | None) -> list[int | None]:
        if self.card.task == "regression":
            return [None]
        if not labels:
            order = [int(i) for i in np.argsort(-answer, kind="stable")]
            if top_k is None and self.card.task == "multilabel":
                thresholds = np.asarray(self.card.holds_from, np.float32)
                return [*([i for i in order if answer[i] >= thresholds[i]] or order[:1])]
            return [*order[: top_k or 1]]
        indices: list[int | None] = []
        for label in labels:
            index = self.card.label(label)
            if index is None:
                names = [each.name for each in self.card.labels]
                if len(names) <= _LISTED:
                    known = f"it knows {', '.join(names)}"
                else:
                    close = difflib.get_close_matches(label, names, 5, 0.4) or names[:5]
                    known = f"such as {', '.join(close)}; `graft models info MODEL --json` lists all"
                raise InputError(f"{self.card.name}: no class {label!r} among its {len(names):,}: {known}.")
            indices.append(index)
        return indices
