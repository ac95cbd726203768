"""Which parts of a photo speak for a class: Grad-CAM, from the ONNX file through the autodiff graph.

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", equations 1
and 2: each channel of a feature map is weighed by the mean over positions of the gradient of the class's logit, and
what is positive in the weighted sum is shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from finetune.explain.geometry import Floats
from finetune.explain.heatmap import Explainer, Subject, subject_of
from finetune.explain.slopes import Slopes
from models.anatomy import behind_layers, classifier_inputs, crossings
from models.errors import CutError
from models.graph import needed
from models.layout import Layouts, layouts_of
from models.plain import FOR_ONE_PROCESSOR, is_for_one_processor
from models.runtime import RuntimeConfig
from models.truncation import cut_model


class GradCam(Explainer):
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
        subject = subject_of(spec)
        self.card, self.notes = subject.card, subject.notes
        layouts = layouts_of(subject.proto)
        candidates = (
            [_require_map(subject.proto, layouts, cut)]
            if cut is not None
            else maps(subject.proto, layouts, subject.goal)
        )
        for position, self.cut in enumerate(candidates):
            self._layout = layouts.places[self.cut]
            self._prepare(subject, RuntimeConfig(device, threads))
            # Behind its last mixture of places, a transformer that reads its class token alone sees no other.
            if position == len(candidates) - 1 or not self._layout.beside or self._slopes_anywhere():
                break

    def _prepare(self, subject: Subject, config: RuntimeConfig) -> None:
        """Take the network apart at `self.cut`."""
        self._slopes = Slopes(
            subject.proto, self.cut, subject.goal, config,
            refusal=f"{self.card.name}: what follows {self.cut} cannot be differentiated, so there is no Grad-CAM. A "
            "model fine-tuned with --method head, or with logistic regression, can be explained.",
        )  # fmt: skip
        self._outputs = [self.cut, subject.answer]
        self._model = subject.opened(self._outputs, config)

    def _slopes_anywhere(self) -> bool:
        """Whether any class of a made-up map depends on a place of it."""
        rng = np.random.default_rng(0)
        weights, made_up = (
            rng.standard_normal([size or 1 for size in shape])
            for shape in (self._slopes.end_shape, self._slopes.begin_shape)
        )
        return bool(self._layout.as_maps(self._slopes.at(made_up, weights)).any())

    def _look(self, pixels: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        features, answer = self._model.run(pixels[None], self._outputs)
        return features, answer.reshape(-1)

    def _raw(self, features: NDArray[Any], answer: Floats, index: int | None) -> Floats:
        """relu(sum over k of alpha_k A_k), (rows, columns), with alpha_k the mean slope of channel k."""
        asked = np.ones(1) if index is None else np.eye(len(self.card.labels))[index][None]
        slopes = self._layout.as_maps(self._slopes.at(features, asked))  # (1, C, H, W)
        weights = slopes.mean(axis=(2, 3))[0]  # (C,)
        places = self._layout.as_maps(features)[0].astype(np.float32)  # (C, H, W)
        return np.maximum(np.tensordot(weights, places, axes=1), 0.0)


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
