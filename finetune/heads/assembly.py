"""One file out of a frozen trunk, a trained top, a temperature and a rejector."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
from onnx import ModelProto

from finetune.heads.joining import free_name, join, tensor_names
from finetune.heads.top import Top
from finetune.trust.reference import Projector
from finetune.trust.rejection import Rejector
from models.card import Cut, ModelCard, Reject, card_of, read_card
from models.errors import GraphError, ModelError, NumericsError
from models.graph import copied, infer, opset_of, producers, rename, shape_of
from models.metadata import REFERENCE, put_entry
from models.model import Model
from models.names import EMBEDDING, FEATURES, LOGITS, PROBABILITIES, PROJECTION, REJECT_SCORE, VALUE
from models.nodes import Nodes, floats
from models.opset import OPSET
from models.reference import Reference
from models.runtime import Array, RuntimeConfig
from models.serialized import session_of
from models.wording import first_line

_TRIED = 2  # images that the finished network is run on
_SAME = 1e-2  # by how much an image's row may differ from batch to batch, in parts of the largest value


def assemble(
    trunk: ModelProto,
    at: str,
    top: Top,
    card: ModelCard,
    *,
    temperature: float | None = None,
    rejector: Rejector | None = None,
    described: tuple[Projector, Reference] | None = None,
) -> ModelProto:
    """`trunk` up to its tensor `at`, and `top` behind it, as one model that explains itself.

    It takes uint8 images and gives `logits` and `probabilities` = softmax(logits / temperature), or the sigmoid of
    each where the card's task is "multilabel", and `reject_score` where there is a rejector; or `value`, for a
    regression; and `projection` where the images that it learned from are described, which go into its metadata. What
    has to happen to the images - preprocessing, normalisation, a fixed batch size - is copied from the trunk's card;
    temperature, reject threshold and cut points (the trunk's as far as they are left, and `embedding`) are filled in;
    all else is `card`'s. Equal arguments give equal bytes. The model is checked with onnx.checker and by running it.

    Raises:
        CutError: the trunk has no tensor `at`.
        GraphError: the top does not fit the trunk, or lacks one of its outputs.
        ModelError: the trunk has no card, the labels do not fit, or onnx or onnxruntime refuse the result.
        NumericsError: the model answers with NaN or infinity.
    """
    below = card_of(trunk)
    if below is None:
        raise ModelError("the trunk has no model card. Import it with `graft models import` first.")
    base = copied(trunk)
    if EMBEDDING in producers(base.graph):  # of an earlier fine-tuning; the new one gets the name
        earlier = free_name(f"trunk/{EMBEDDING}", tensor_names(base.graph))
        rename(base.graph, EMBEDDING, earlier)
        at = earlier if at == EMBEDDING else at
    head = _head(top, card, temperature, rejector, described)
    cuts = [cut for cut in below.cuts if cut.name not in (EMBEDDING, LOGITS)]
    embedding = infer(head).get(EMBEDDING)
    width = shape_of(embedding)[1:] if embedding is not None else ()
    joined = join(
        base,
        head,
        at,
        dataclasses.replace(
            card,
            preprocessing=below.preprocessing,
            normalization=below.normalization,
            batch_size=below.batch_size,
            temperature=temperature,
            reject=None if rejector is None else _reject(rejector),
            cuts=(*cuts, Cut(EMBEDDING, width or (-1,))),
        ),
    )
    joined.producer_name = "graft"
    if described is not None:
        put_entry(joined, REFERENCE, described[1].to_json())
    _check(joined, trunk)
    _try(joined, card)
    return joined


def _reject(rejector: Rejector) -> Reject:
    """What the card says of it."""
    return Reject(
        rejector.threshold,
        rejector.kept,
        rejector.auroc,
        rejector.measured,
        rejector.kind,
        rejector.interval,
    )


def _head(
    top: Top,
    card: ModelCard,
    temperature: float | None,
    rejector: Rejector | None,
    described: tuple[Projector, Reference] | None,
) -> ModelProto:
    """The top with everything behind its logits, and the outputs that a finished model has."""
    head = copied(top.model)
    graph = head.graph
    made = producers(graph)
    regression = card.task == "regression"
    last = VALUE if regression else LOGITS
    if [value.name for value in graph.input] != [FEATURES] or not {last, EMBEDDING} <= made.keys():
        raise GraphError(
            f"the top takes {', '.join(value.name for value in graph.input)} and makes {', '.join(list(made)[-3:])}; "
            f"expected {FEATURES}, {EMBEDDING} and {last}."
        )
    if regression and (temperature is not None or rejector is not None):
        raise GraphError(
            "temperature and rejector are for classes, and this is a regression. Leave them out."
        )
    del graph.output[:]
    if regression:
        graph.output.append(floats(VALUE, ["N"]))
        _describe(head, described)
        return head
    nodes, scaled = Nodes(), LOGITS
    if temperature is not None:
        divisor = nodes.constant("temperature", temperature)
        scaled = nodes.add("Div", LOGITS, divisor, output="scaled_logits")
    if card.task == "multilabel":
        nodes.add("Sigmoid", scaled, output=PROBABILITIES)
    else:
        nodes.add("Softmax", scaled, output=PROBABILITIES, axis=1)
    nodes.append_to(graph)
    graph.output.extend(floats(name, ["N", len(card.labels)]) for name in (LOGITS, PROBABILITIES))
    if rejector is not None:
        rejector.nodes(EMBEDDING, LOGITS, REJECT_SCORE).append_to(graph)
        graph.output.append(floats(REJECT_SCORE, ["N"]))
    _describe(head, described)
    if (opset := opset_of(head)) < OPSET:
        raise GraphError(f"the top is of opset {opset}; expected {OPSET} at least. Export it again.")
    return head


def _describe(head: ModelProto, described: tuple[Projector, Reference] | None) -> None:
    """Give the head its output `projection`."""
    if described is not None:
        projector, reference = described
        projector.nodes(EMBEDDING, PROJECTION).append_to(head.graph)
        head.graph.output.append(floats(PROJECTION, ["N", reference.width]))


def _check(model: ModelProto, trunk: ModelProto) -> None:
    """onnx's own checker; networks of others that run although it refuses them are let through."""
    try:
        onnx.checker.check_model(model)
    except Exception as exc:  # the checker has its own type, protobuf another
        try:
            onnx.checker.check_model(trunk)
        except Exception:
            return
        raise ModelError(
            f"onnx refuses the finished model ({first_line(exc)}). Report it with the command."
        ) from exc


def _try(proto: ModelProto, card: ModelCard) -> None:
    """Run noise through the model: each output has its shape, and an image's row does not depend on its neighbours."""
    session = session_of(proto, RuntimeConfig(device="cpu"))
    written = read_card(session.metadata)
    if written is None:
        raise ModelError("the finished model lost its card. Report it with the command.")
    model = Model(session, written)
    height, width = written.preprocessing.size
    images = np.random.default_rng(0).integers(0, 256, (_TRIED, height, width, 3), np.uint8)
    together, alone = model.run(images), model.run(images[:1])
    for name, values, first in zip(session.outputs, together, alone, strict=True):
        widths = {LOGITS: len(card.labels), PROBABILITIES: len(card.labels), PROJECTION: values.shape[-1]}
        expected = (_TRIED, widths[name]) if name in widths else (_TRIED,)
        if values.shape != expected:
            raise ModelError(
                f"the finished model gives {name} {list(values.shape)}; expected {list(expected)}."
            )
        if not np.isfinite(values).all():
            raise NumericsError(
                f"the finished model gives {name} with NaN or infinity. Train it with a lower rate."
            )
        if _gap(values[:1], first) > _SAME:
            raise ModelError(
                f"the finished model gives another {name} for an image alone than beside others."
            )


def _gap(a: Array, b: Array) -> float:
    return float(np.abs(a - b).max() / max(1.0, float(np.abs(a).max())))
