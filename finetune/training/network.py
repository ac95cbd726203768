"""The graph of a training: a head on features or maps, a loss, a step of the optimizer, and what is exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from onnx import ModelProto

from finetune.autodiff import Graph, Session, export, import_onnx
from finetune.autodiff.graph import Operation
from finetune.autodiff.initializers import he_normal, zeros
from finetune.autodiff.losses import mean_squared_error, sigmoid_cross_entropy, softmax_cross_entropy
from finetune.autodiff.ops.activations import relu
from finetune.autodiff.ops.elementwise import cast, equal, greater
from finetune.autodiff.ops.reductions import argmax, reduce_mean, reduce_min, reduce_sum
from finetune.autodiff.ops.shape import flatten
from finetune.autodiff.ops.state import identity
from finetune.autodiff.ops.training import dropout
from finetune.autodiff.optimizers import SplitStep
from finetune.autodiff.schedules import Schedule
from finetune.autodiff.tensor import Tensor, Variable
from finetune.training.rates import depth_factors, optimizer
from finetune.training.settings import Settings
from models.errors import CutError, GraphError
from models.graph import rename
from models.layout import layouts_of
from models.names import EMBEDDING, FEATURES, LOGITS, VALUE

Layers = tuple[tuple[Variable, Variable], ...]

OFFER = "Train a head alone, which needs no gradients of the network (--method head), or unfreeze from a later cut."


@dataclass(frozen=True)
class Blocks:
    """The part of `model` between the tensors `cut` and `embedding`, to be trained with the head."""

    model: ModelProto
    cut: str
    embedding: str


@dataclass(frozen=True)
class Network:
    """Tensors and operations of the graph.

    `x`, `y`: what is fed. `pooled` (N, D): what the head reads, `outputs` (N, classes) logits or (N, 1) standardised
    values. `hits`: how many of a batch are right, with all labels, None in a regression. `rate`: of the step.
    `standard`: mean and factor of the columns of `pooled`; `scale`: mean and deviation of the targets. `head`: weights
    and bias of each layer; `folded`: the same with both standardisations inside, which only `exported` reads. `split`:
    the step in two runs where that was asked for, of which `train` is then the second, for rows whose places in the
    batch are fed to `graph.rows`.
    """

    graph: Graph
    x: Tensor
    y: Tensor
    pooled: Tensor
    outputs: Tensor
    loss: Tensor
    hits: Tensor | None
    rate: Tensor
    train: Operation
    standard: tuple[Variable, Variable]
    scale: tuple[Variable, Variable]
    head: Layers
    folded: Layers
    exported: Mapping[str, Tensor]
    split: SplitStep | None = None

    @property
    def trained(self) -> list[Variable]:
        """The variables that training changes."""
        return self.graph.trainable_variables

    @property
    def kept(self) -> list[Variable]:
        """The variables that say how training stands; the rest follows from them."""
        folded = {variable for layer in self.folded for variable in layer}
        return [variable for variable in self.graph.variables if variable not in folded]

    def export(self, session: Session) -> ModelProto:
        """The inference model with the session's values: `features` to `embedding` and `logits` or `value`."""
        layers = [[session.value(v).astype(np.float64) for v in layer] for layer in self.head]
        mean, factor = (session.value(v).astype(np.float64) for v in self.standard)
        weights, bias = layers[0]
        layers[0] = [factor[:, None] * weights, bias - (mean * factor) @ weights]
        target_mean, deviation = (session.value(v).astype(np.float64) for v in self.scale)
        weights, bias = layers[-1]
        layers[-1] = [weights * deviation, bias * deviation + target_mean]
        for variables, values in zip(self.folded, layers, strict=True):
            session.load(dict(zip(variables, values, strict=True)))
        model = export(self.graph, self.exported, session=session)
        rename(model.graph, model.graph.input[0].name, FEATURES)
        return model


def build(
    settings: Settings,
    classes: int,
    shape: Sequence[int],
    rate: Schedule,
    *,
    several: bool = False,
    weights: Sequence[float] | None = None,
    blocks: Blocks | None = None,
    split: bool = False,
) -> Network:
    """The graph for inputs (N, *shape); `weights`: how much an image of each class counts; `split`: see `Network`.

    `several`: the classes are labels, of which any number may hold.

    Raises:
        GraphError: blocks with an operator that cannot be differentiated.
        CutError: blocks that do not begin or end where they should.
    """
    rates: list[Tensor] = []

    def remembered(step: Tensor) -> Tensor:
        rates.append(rate(step))
        return rates[-1]

    with Graph(seed=settings.seed) as graph:
        if split:
            graph.rows = graph.placeholder((None,), np.int64, name="rows")
        x, pooled = _below(graph, shape, blocks)
        below = graph.trainable_variables
        y = (
            graph.placeholder((None, classes), np.float32, name="targets")
            if several
            else graph.placeholder((None,), np.int64 if classes else np.float32, name="targets")
        )
        size = int(pooled.shape[1] or 0)
        sizes = [size, *settings.hidden, classes or 1]
        with graph.name_scope("standard"):
            mean = graph.variable(np.zeros(size), name="mean", trainable=False)
            factor = graph.variable(np.ones(size), name="factor", trainable=False)
            target_mean = graph.variable(np.zeros(()), name="target_mean", trainable=False)
            deviation = graph.variable(np.ones(()), name="target_deviation", trainable=False)
        with graph.name_scope("head"):
            head = _layers(graph, sizes, trainable=True)
            _, outputs = _apply(head, (pooled - mean) * factor, settings.dropout)
        with graph.name_scope("exported"):
            folded = _layers(graph, sizes, trainable=False)
            embedding, out = _apply(folded, pooled, 0.0)
        hits: Tensor | None
        if several:
            loss = sigmoid_cross_entropy(outputs, y, settings.label_smoothing, weights)
            right = equal(cast(greater(outputs, 0.0), graph.dtype), y)
            hits = reduce_sum(reduce_min(cast(right, graph.dtype), -1))
        elif classes:
            loss = softmax_cross_entropy(outputs, y, settings.label_smoothing, weights)
            hits = reduce_sum(cast(equal(argmax(outputs), y), graph.dtype))
        else:
            loss, hits = mean_squared_error(outputs.reshape(-1), (y - target_mean) / deviation), None
        biases = [v for v in graph.trainable_variables if len(v.sizes) < 2]
        how = optimizer(settings, remembered, depth_factors(below, settings.rate_factor), biases)
        try:
            halves = how.split(loss) if split else None
            train = halves.apply if halves else how.minimize(loss)
        except GraphError as exc:
            raise type(exc)(f"{exc} {OFFER}") from exc
        last = {LOGITS: out} if classes else {VALUE: out.reshape(-1)}
        return Network(
            graph, x, y, pooled, outputs, loss, hits, rates[0], train,
            (mean, factor), (target_mean, deviation), head, folded, {EMBEDDING: identity(embedding), **last}, halves,
        )  # fmt: skip


def _below(graph: Graph, shape: Sequence[int], blocks: Blocks | None) -> tuple[Tensor, Tensor]:
    """What is fed, and what the head reads, (N, D)."""
    if blocks is None:
        x = graph.placeholder((None, *shape), name=FEATURES)
        return x, x
    try:
        part = import_onnx(blocks.model, blocks.cut, outputs=[blocks.embedding], name="blocks")
    except GraphError as exc:
        raise type(exc)(f"{exc} {OFFER}") from exc
    wanted = part.input.shape[1:]
    if len(wanted) != len(shape) or any(w not in (None, s) for w, s in zip(wanted, shape, strict=True)):
        raise CutError(
            f"{blocks.cut} is {wanted} for an image; the data are {tuple(shape)}. Take them at that cut."
        )
    pooled = part.outputs[blocks.embedding]
    layouts = layouts_of(blocks.model)
    layout = layouts.places.get(blocks.embedding)
    if layout is not None:  # maps (N, C, H, W) or (N, H, W, C), tokens (N, T, C)
        pooled = reduce_mean(pooled, layout.places)
    elif blocks.embedding in layouts.vectors and pooled.rank > 2:
        pooled = flatten(pooled)
    if pooled.rank != 2:
        raise CutError(
            f"{blocks.embedding} is {pooled.shape}; expected vectors or maps, which a head can read."
        )
    return part.input, pooled


def _layers(graph: Graph, sizes: Sequence[int], trainable: bool) -> Layers:
    """Weights and bias of each dense layer. The last begins with 0, so all classes begin alike."""
    layers = []
    for i, (size, units) in enumerate(pairwise(sizes)):
        first = he_normal if i < len(sizes) - 2 else zeros
        with graph.name_scope(f"dense_{i + 1}"):
            weights = graph.variable(first, (size, units), name="weights", trainable=trainable)
            layers.append((weights, graph.variable(zeros, (units,), name="bias", trainable=trainable)))
    return tuple(layers)


def _apply(layers: Layers, x: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    """What the last layer reads, and what it gives. Dropout stands in front of every layer but a hidden first one."""
    for i, (weights, bias) in enumerate(layers[:-1]):
        x = relu((dropout(x, rate) if rate and i else x) @ weights + bias)
    weights, bias = layers[-1]
    return x, (dropout(x, rate) if rate else x) @ weights + bias
