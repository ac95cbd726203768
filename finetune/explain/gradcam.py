"""Which parts of a photo speak for a class: Grad-CAM, from the ONNX file through the autodiff graph.

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", equations 1
and 2: each channel of a feature map is weighed by the mean over positions of the gradient of the class's logit, and
what is positive in the weighted sum is shown.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from PIL import Image

from finetune.autodiff import Graph, gradients, import_onnx, placeholder
from finetune.autodiff import Session as GraphSession
from finetune.explain.geometry import Box, Floats, full_photo, on_photo, resized, visible_box
from models.anatomy import behind_layers, classifier_inputs, crossings
from models.card import Label, ModelCard, card_of
from models.errors import CutError, GraphError, InputError, ModelError, NumericsError
from models.graph import needed
from models.importing import as_graft_model
from models.layout import Layouts, layouts_of
from models.locating import locate
from models.model import Model
from models.names import LOGITS, PROBABILITIES, VALUE
from models.plain import FOR_ONE_PROCESSOR, is_for_one_processor
from models.preprocessing import ImageSource
from models.runtime import RuntimeConfig
from models.serialized import session_of
from models.truncation import cut_model


@dataclass(frozen=True)
class Heatmap:
    """Where a network looks for one class; 1 where the most speaks for it, 0 where nothing does.

    `network`: at the network's input size, (height, width). `photo`: at the size of the upright photo, 0 outside of
    `box`, the part that preprocessing shows to the network. `raw`: the weighted sum at the cut, (rows, columns),
    before it is divided by its largest value. `probability` is None in a regression, whose value is `value`.
    """

    label: Label
    probability: float | None
    value: float | None
    cut: str
    raw: Floats
    network: Floats
    photo: Floats
    box: Box


class GradCam:
    """Grad-CAM of one network, for any number of images.

    `spec`: a name of the zoo, an ONNX file, or a model with a card. `cut`: the feature map to look at, by default the
    last one before the classifier. `threads`: of a run, None for one a core.

    Raises:
        UnknownModelError: no such name or file.
        ModelError: not a model of images, or one that gives features only.
        CutError: no such tensor, or none that is a map.
        GraphError: an operator behind the cut that has no gradient.
    """

    def __init__(
        self,
        spec: str | Path | ModelProto,
        cut: str | None = None,
        *,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        proto, self.notes = (spec, ()) if isinstance(spec, ModelProto) else as_graft_model(locate(spec))
        card = card_of(proto)
        if card is None:
            raise ModelError("the model has no card. Import it with `graft models import`.")
        self.card: ModelCard = card
        goal, answer = (VALUE, VALUE) if card.task == "regression" else (LOGITS, PROBABILITIES)
        if card.task == "features":
            raise ModelError(
                f"{card.name}: gives features, not classes, so there is nothing for a photo to speak for. Fine-tune it "
                "on labelled images first."
            )
        layouts = layouts_of(proto)
        candidates = [_require_map(proto, layouts, cut)] if cut is not None else maps(proto, layouts, goal)
        for position, self.cut in enumerate(candidates):
            self._layout = layouts.places[self.cut]
            self._prepare(proto, goal, answer, device, threads)
            # Behind its last mixture of places, a transformer that reads its class token alone sees no other.
            if position == len(candidates) - 1 or not self._layout.beside or self._slopes_anywhere():
                break

    def _prepare(self, proto: ModelProto, goal: str, answer: str, device: str, threads: int | None) -> None:
        """Take the network apart at `self.cut`."""
        with Graph() as graph:
            try:
                top = import_onnx(proto, self.cut, outputs=[goal], trainable=False)
                out = top.outputs[goal]
                self._asked = placeholder(out.shape, name="asked")  # one where the class is, zero elsewhere
                self._slopes = gradients(out, [top.input], [self._asked])[0]
            except GraphError as exc:
                raise type(exc)(
                    f"{self.card.name}: what follows {self.cut} cannot be differentiated, so there is no Grad-CAM. A "
                    "model fine-tuned with --method head, or with logistic regression, can be explained. In detail: "
                    f"{exc}"
                ) from exc
        self._input = top.input
        self._gradients = GraphSession(graph, device, threads=threads)
        whole = cut_model(proto, [self.cut, answer])
        network = replace(self.card, cuts=())
        self._model = Model(session_of(whole, RuntimeConfig(device, threads)), network)
        self._outputs = [self.cut, answer]

    def _slopes_anywhere(self) -> bool:
        """Whether any class of a made-up map depends on a place of it."""
        rng = np.random.default_rng(0)
        sizes = [size or 1 for size in self._input.shape]
        asked = rng.standard_normal([size or 1 for size in self._asked.shape]).astype(np.float32)
        made_up = rng.standard_normal(sizes).astype(np.float32)
        slopes = self._gradients.run(self._slopes, {self._input: made_up, self._asked: asked})
        return bool(self._layout.as_maps(slopes).any())

    def explain(
        self, image: ImageSource, labels: Sequence[str] = (), *, top_k: int = 1, name: str | None = None
    ) -> list[Heatmap]:
        """A heat map for each of `labels` (ids or names), or for the `top_k` most probable classes.

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
        top_k: int = 1,
    ) -> list[Heatmap]:
        """As `explain`, of the (H, W, 3) that preprocessing has made of an image.

        `size`: (width, height) of the upright photo; `shown`: of a copy of it, to which `photo` and `box` of the maps
        belong.

        Raises:
            InputError, NumericsError: as `explain`.
        """
        preprocessing = self.card.preprocessing
        features, answer = self._model.run(pixels[None], self._outputs)
        if not (np.isfinite(features).all() and np.isfinite(answer).all()):
            raise NumericsError(f"{self.card.name}: answers with NaN or infinity on this image.")
        across, down = shown[0] / size[0], shown[1] / size[1]
        left, top, right, bottom = visible_box(preprocessing, size)
        box = (left * across, top * down, right * across, bottom * down)
        heatmaps = []
        for index in self._indices(labels, answer[0], top_k):
            raw = self._weighted_sum(features, index)
            network = resized(raw / max(float(raw.max()), 1e-30), preprocessing.size)
            classes = index is not None
            heatmaps.append(
                Heatmap(
                    self.card.labels[index]
                    if index is not None
                    else Label(VALUE, self.card.target.name if self.card.target else VALUE),
                    float(answer[0, index]) if classes else None,
                    None if classes else float(answer[0]),
                    self.cut,
                    raw,
                    network,
                    on_photo(network, box, shown),
                    box,
                )
            )
        return heatmaps

    def _weighted_sum(self, features: Floats, index: int | None) -> Floats:
        """relu(sum over k of alpha_k A_k), (rows, columns), with alpha_k the mean slope of channel k."""
        asked = np.ones(1) if index is None else np.eye(len(self.card.labels))[index][None]
        feeds = {self._input: features.astype(np.float32), self._asked: asked.astype(np.float32)}
        slopes = self._layout.as_maps(self._gradients.run(self._slopes, feeds))  # (1, C, H, W)
        weights = slopes.mean(axis=(2, 3))[0]  # (C,)
        places = self._layout.as_maps(features)[0].astype(np.float32)  # (C, H, W)
        return np.maximum(np.tensordot(weights, places, axes=1), 0.0)

    def _indices(self, labels: Sequence[str], answer: Floats, top_k: int) -> list[int | None]:
        if self.card.task == "regression":
            return [None]
        if not labels:
            return [int(i) for i in np.argsort(-answer, kind="stable")[:top_k]]
        indices: list[int | None] = []
        for label in labels:
            index = self.card.label(label)
            if index is None:
                names = [each.name for each in self.card.labels]
                close = difflib.get_close_matches(label, names, 3, 0.4) or names[:3]
                raise InputError(
                    f"{self.card.name}: no class {label!r} among its {len(names):,}; there is {', '.join(close)}."
                )
            indices.append(index)
        return indices


def maps(model: ModelProto, layouts: Layouts, goal: str) -> list[str]:
    """The tensors with places of the image that every path to `goal` crosses behind the first layer, the last first.

    Raises:
        CutError: there is none.
    """
    behind = behind_layers(model)
    read = classifier_inputs(model, layouts, goal)
    ahead = needed(model.graph, read or [goal])  # maps of scores, one a class, are the classifier's own
    made = {name for i in ahead for name in model.graph.node[i].output}
    behind &= made
    crossed = [name for name in crossings(model, [goal]) if name in behind and _is_map(layouts, name)]
    if not crossed and is_for_one_processor(model):
        raise CutError(f"the network has no feature map to look at: {FOR_ONE_PROCESSOR}.")
    if not crossed:
        raise CutError(
            f"the network has no feature map of more than one pixel before {goal}, so there are no places to show. "
            "Name one with --cut, if it has a map under another layout."
        )
    return crossed[::-1]


def _require_map(model: ModelProto, layouts: Layouts, cut: str) -> str:
    cut_model(model, [cut])  # says what there is instead
    if not _is_map(layouts, cut):
        raise CutError(
            f"{cut}: not a feature map of more than one pixel, (N, channels, rows, columns), (N, rows, columns, "
            "channels) or the tokens of an image (N, tokens, channels), as far as can be followed. Cut earlier."
        )
    return cut


def _is_map(layouts: Layouts, name: str) -> bool:
    return name in layouts.places and layouts.places[name].grid not in (None, (1, 1))
