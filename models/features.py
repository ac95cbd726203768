"""A network cut to give feature vectors: pooled, normalised and in the wanted precision, all inside the graph.

What is done in the graph is not copied out first: pooling a 35 x 35 map there saves 1,224 of 1,225 values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from onnx import ModelProto, TensorProto, helper

from models.anatomy import classifier_inputs
from models.card import ModelCard, card_of, read_card
from models.errors import CutError, ModelError
from models.fingerprint import graph_digests
from models.graph import element_type, infer, opset_of, producers, rename, shape_of
from models.importing import as_graft_model
from models.layout import Layout, layouts_of
from models.locating import locate
from models.model import Model
from models.names import EMBEDDING, LOGITS, POOL, PRE_LOGITS, PROBABILITIES, PROJECTION, REJECT_SCORE, VALUE
from models.nodes import Nodes
from models.plain import FOR_ONE_PROCESSOR, is_for_one_processor
from models.runtime import Array, RuntimeConfig
from models.serialized import bytes_if_small, session_of
from models.settings import setting, settings
from models.store import DownloadProgress
from models.truncation import cut_model

Pool = Literal["avg", "max", "none", "flatten"]
# Outputs that are answers.
_NO_FEATURES = (PROBABILITIES, REJECT_SCORE, VALUE, PROJECTION)
_SMALLEST = 1e-12  # lengths below this are taken for it, so that a vector of zeros stays one


@settings
class FeatureOptions:
    """What is wanted of a network.

    Of maps (N, C, H, W) or (N, H, W, C) and tokens (N, T, C) "avg" and "max" over positions give (N, C), "flatten"
    gives (N, values), "none" leaves them.
    """

    cuts: tuple[str, ...] = setting(
        (),
        "Cut points or tensors, with commas between them.",
        unset="what the classifier reads",
        metavar="NAME,NAME",
    )
    pool: Pool = setting(
        "avg", "What is done to maps: mean or maximum over positions, nothing, or one long vector."
    )
    normalize: Literal["l2"] | None = setting(None, "Make vectors of length 1.")
    dtype: Literal["float32", "float16"] = setting("float32", "Precision.")


@dataclass(frozen=True)
class FeatureModel:
    """A network that is ready to give features; its outputs are called after the cuts, in their order.

    One that is sent to another process takes its graph along, and is opened there with the same settings.
    """

    model: Model
    options: FeatureOptions
    cuts: tuple[str, ...]
    digests: tuple[str, ...]  # of the sub-graph up to each output: equal ones compute the same
    network: bytes | ModelProto = field(repr=False)  # the graph, cut
    # Axes of positions in features that are left as they are, where they are known.
    places: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def graph(self) -> ModelProto:
        """The network up to the cuts; not to be changed."""
        network = self.network
        return ModelProto.FromString(network) if isinstance(network, bytes) else network

    @cached_property
    def blank(self) -> dict[str, Array]:
        """Features of no image: for each cut an array with no row, which tells shape and dtype."""
        height, width = self.model.card.preprocessing.size
        arrays = self.model.run(np.zeros((1, height, width, 3), np.uint8), self.cuts)
        return {cut: array[:0] for cut, array in zip(self.cuts, arrays, strict=True)}

    def reopen(self, config: RuntimeConfig) -> FeatureModel:
        """The same network with other settings.

        Raises:
            DeviceError: the device cannot be had.
        """
        model = Model(session_of(self.network, config), self.model.card, self.model.notes)
        return FeatureModel(model, self.options, self.cuts, self.digests, self.network, self.places)

    def __reduce__(self) -> tuple[Any, ...]:
        facts = (self.options, self.cuts, self.digests, self.network, self.places)
        return _opened, (self.model.session.config, self.model.card, self.model.notes, *facts)


def open_features(
    spec: str | Path,
    options: FeatureOptions,
    config: RuntimeConfig | None = None,
    *,
    progress: DownloadProgress | None = None,
) -> FeatureModel:
    """Open a model of the zoo by name, or any ONNX file by path, to give features.

    Raises:
        UnknownModelError: no such name or file.
        ModelError: the file is no model, or none that takes images.
        CutError: no such cut point or tensor, or one that cannot be pooled.
        StoreError: the weights could not be downloaded.
        OutputError: the model that was built from them cannot be written.
        DeviceError: the device cannot be had.
    """
    proto, notes = as_graft_model(locate(spec, progress=progress))
    cuts = options.cuts or default_cuts(proto)
    layouts = layouts_of(proto).places if options.pool == "none" else {}
    places = {cut: layouts[cut].places for cut in cuts if cut in layouts}
    proto = feature_graph(proto, cuts, options)
    digests = graph_digests(proto, cuts)
    network = bytes_if_small(proto)
    del proto  # it is as large as the network
    session = session_of(network, config)
    card = read_card(session.metadata, str(spec))
    if card is None:
        raise ModelError(f"{spec}: no model card. Import it with `graft models import`.")
    return FeatureModel(Model(session, card, notes), options, cuts, digests, network, places)


def _opened(
    config: RuntimeConfig,
    card: ModelCard,
    notes: Sequence[str],
    options: FeatureOptions,
    cuts: tuple[str, ...],
    digests: tuple[str, ...],
    network: bytes | ModelProto,
    places: Mapping[str, tuple[int, ...]],
) -> FeatureModel:
    """A network that came from another process."""
    model = Model(session_of(network, config), card, notes)
    return FeatureModel(model, options, cuts, digests, network, places)


def default_cuts(model: ModelProto) -> tuple[str, ...]:
    """Where a network is cut when nothing is said: what the last layer reads, else its outputs.

    Cards call a mean over all positions `pool`, several heads' common input `pre_logits`, and what the last layer of
    a fine-tuned network reads `embedding`; these names win.

    Raises:
        CutError: a classifier whose last layer cannot be found.
    """
    made = producers(model.graph)
    card = card_of(model)
    named = {cut.name: cut.shape for cut in card.cuts} if card is not None else {}
    if POOL in made and not named:
        return (POOL,)
    for name in (POOL, PRE_LOGITS, EMBEDDING):
        # One number is no feature: earlier imports took the mean of a layer norm for `pool`.
        if name in made and named.get(name, (1,)) != (1,):
            return (name,)
    if LOGITS not in made:
        outputs = [value.name for value in model.graph.output if value.name not in _NO_FEATURES]
        if outputs:
            return tuple(outputs)
    read = classifier_inputs(model, layouts_of(model))
    if len(read) == 1:
        return read
    if is_for_one_processor(model):
        raise CutError(f"the network has no place to cut: {FOR_ONE_PROCESSOR}.")
    raise CutError(
        "the network has no cut point `pool`, and no layer that makes its logits was found. "
        "Name the cut point to take; `graft models cuts` lists them."
    )


def feature_graph(model: ModelProto, cuts: tuple[str, ...], options: FeatureOptions) -> ModelProto:
    """A copy of `model` that gives float32 or float16 features at `cuts`, under their names.

    Raises:
        CutError: no such cut point or tensor, or one that cannot be pooled.
    """
    layouts = layouts_of(model)
    cut = cut_model(model, cuts)
    known = infer(cut)
    del cut.graph.output[:]
    for name in cuts:
        value = known.get(name)
        kind = element_type(value) if value is not None else TensorProto.FLOAT
        rank = (
            len(layouts.shapes[name]) + 1 if name in layouts.shapes else len(shape_of(value)) if value else 0
        )
        if name in layouts.vectors:  # `cut_model` has made it flat
            rank = 2
        head = _Head(cut, name, rank, layouts.places.get(name))
        if kind != TensorProto.FLOAT:
            head.behind("Cast", to=TensorProto.FLOAT)
        head.pool(options.pool)
        if options.normalize:
            head.normalize()
        if options.dtype == "float16":
            head.behind("Cast", to=TensorProto.FLOAT16)
        head.finish(TensorProto.FLOAT16 if options.dtype == "float16" else TensorProto.FLOAT)
    return cut


class _Head(Nodes):
    """Nodes behind a tensor; the last one takes over the tensor's name."""

    def __init__(self, model: ModelProto, name: str, rank: int, layout: Layout | None) -> None:
        super().__init__(f"{name}/cut/")
        self._graph, self._opset, self._name = model.graph, opset_of(model), name
        self._rank, self._layout = rank, layout
        self._inner = self._last = f"{name}/cut"
        rename(model.graph, name, self._inner)

    def behind(self, op: str, *inputs: str, **attributes: Any) -> None:
        """Put a node behind the last one; `inputs` are what it reads besides."""
        self._last = self.add(op, self._last, *inputs, **attributes)

    def pool(self, pool: Pool) -> None:
        """Make a vector of what is there for an image."""
        if pool == "none":
            return
        if pool != "flatten" and self._rank != 2:
            if self._layout is None:
                raise CutError(
                    f"{self._name}: which of its axes are positions is not known, so it cannot be pooled. Use --pool "
                    "flatten or none, or another cut."
                )
            self._pool_places(pool, self._layout)
        elif self._rank != 2:
            self.behind("Flatten", axis=1)
        self._rank = 2

    def _pool_places(self, pool: Pool, layout: Layout) -> None:
        """(N, C, H, W), (N, H, W, C) or tokens (N, T, C) to (N, C)."""
        if layout.places == (2, 3):
            self.behind("GlobalAveragePool" if pool == "avg" else "GlobalMaxPool")
            self.behind("Flatten", axis=1)
        else:
            self._reduce("ReduceMean" if pool == "avg" else "ReduceMax", list(layout.places), keep=False)

    def normalize(self) -> None:
        """x / max(|x|, tiny), over all values of an image."""
        if self._rank == 0:
            raise CutError(f"{self._name}: its shape is not known; normalise it with --pool flatten.")
        x = self._last
        self._reduce("ReduceL2", list(range(1, self._rank)), keep=True)
        self.behind("Max", self.constant("tiny", _SMALLEST))
        length, self._last = self._last, x
        self.behind("Div", length)

    def finish(self, kind: int) -> None:
        """Let the end have the name of the cut, and be an output."""
        if self.nodes:
            self.nodes[-1].output[0] = self._name
            self.append_to(self._graph)
        else:
            rename(self._graph, self._inner, self._name)
        self._graph.output.append(helper.make_tensor_value_info(self._name, kind, None))

    def _reduce(self, op: str, axes: list[int], *, keep: bool) -> None:
        if self._opset >= 18:  # axes became an input
            self.behind(op, self.constant(f"{op}.axes", axes, np.int64), keepdims=int(keep))
        else:
            self.behind(op, axes=axes, keepdims=int(keep))
