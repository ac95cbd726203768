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
from onnx import ModelProto, ValueInfoProto
from PIL import Image

from finetune.autodiff import Graph, gradients, import_onnx, placeholder
from finetune.autodiff import Session as GraphSession
from finetune.explain.geometry import Box, Floats, full_photo, on_photo, resized, visible_box
from models.card import Label, ModelCard, card_of
from models.errors import CutError, GraphError, InputError, ModelError, NumericsError
from models.graph import infer, needed, shape_of
from models.importing import as_graft_model
from models.locating import locate
from models.model import Model
from models.names import LOGITS, PROBABILITIES, VALUE
from models.preprocessing import ImageSource
from models.runtime import OnnxSession, RuntimeConfig
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
    last one before the classifier.

    Raises:
        UnknownModelError: no such name or file.
        ModelError: not a model of images, or one that gives features only.
        CutError: no such tensor, or none that is a map.
        GraphError: an operator behind the cut that has no gradient.
    """

    def __init__(
        self, spec: str | Path | ModelProto, cut: str | None = None, *, device: str = "auto"
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
        self.cut = _require_map(proto, cut) if cut is not None else last_map(proto, goal)
        with Graph() as graph:
            try:
                top = import_onnx(proto, self.cut, outputs=[goal], trainable=False)
                out = top.outputs[goal]
                self._asked = placeholder(out.shape, name="asked")  # one where the class is, zero elsewhere
                self._slopes = gradients(out, [top.input], [self._asked])[0]
            except GraphError as exc:
                raise type(exc)(
                    f"{card.name}: what follows {self.cut} cannot be differentiated, so there is no Grad-CAM. A model "
                    f"fine-tuned with --method head, or with logistic regression, can be explained. In detail: {exc}"
                ) from exc
        self._input = top.input
        self._gradients = GraphSession(graph, device)
        whole = cut_model(proto, [self.cut, answer])
        network = replace(card, cuts=())
        self._model = Model(OnnxSession(whole.SerializeToString(), RuntimeConfig(device)), network)
        self._outputs = [self.cut, answer]

    def explain(
        self, image: ImageSource, labels: Sequence[str] = (), *, top_k: int = 1, name: str | None = None
    ) -> list[Heatmap]:
        """A heat map for each of `labels` (ids or names), or for the `top_k` most probable classes.

        Raises:
            ImageError: not an image that can be read.
            InputError: no such class.
            NumericsError: the network answers with NaN or infinity.
        """
        preprocessing = self.card.preprocessing
        photo = full_photo(image, name)
        pixels = self._model.decode(photo if isinstance(image, Image.Image) else image, name=name)
        maps, answer = self._model.run(pixels[None], self._outputs)
        if not (np.isfinite(maps).all() and np.isfinite(answer).all()):
            raise NumericsError(f"{self.card.name}: answers with NaN or infinity on this image.")
        box = visible_box(preprocessing, photo.size)
        heatmaps = []
        for index in self._indices(labels, answer[0], top_k):
            raw = self._weighted_sum(maps, index)
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
                    on_photo(network, box, photo.size),
                    box,
                )
            )
        return heatmaps

    def _weighted_sum(self, maps: Floats, index: int | None) -> Floats:
        """relu(sum over k of alpha_k A_k), (rows, columns), with alpha_k the mean slope of channel k."""
        asked = np.ones(1) if index is None else np.eye(len(self.card.labels))[index][None]
        feeds = {self._input: maps.astype(np.float32), self._asked: asked.astype(np.float32)}
        slopes = self._gradients.run(self._slopes, feeds)  # (1, C, H, W)
        weights = slopes.mean(axis=(2, 3))[0]  # (C,)
        return np.maximum(np.tensordot(weights, maps[0].astype(np.float32), axes=1), 0.0)

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


def last_map(model: ModelProto, goal: str) -> str:
    """The last tensor (N, C, H, W) behind a convolution, larger than one pixel, on which `goal` depends.

    Raises:
        CutError: there is none.
    """
    known = infer(model)
    wanted = needed(model.graph, [goal])
    behind: set[str] = set()
    last: str | None = None
    for position, node in enumerate(model.graph.node):
        if position in wanted and (node.op_type == "Conv" or not behind.isdisjoint(node.input)):
            behind.update(node.output)
            if _is_map(known, node.output[0]):
                last = str(node.output[0])
    if last is None:
        raise CutError(
            f"the network has no feature map of more than one pixel before {goal}, so there are no places to show. "
            "Name one with --cut, if it has a map under another layout."
        )
    return last


def _require_map(model: ModelProto, cut: str) -> str:
    cut_model(model, [cut])  # says what there is instead
    if not _is_map(infer(model), cut):
        raise CutError(
            f"{cut}: not a feature map (N, channels, rows, columns) of more than one pixel. Cut earlier."
        )
    return cut


def _is_map(known: dict[str, ValueInfoProto], name: str) -> bool:
    shape = shape_of(known[name]) if name in known else ()
    return len(shape) == 4 and shape[2:] != (1, 1)
