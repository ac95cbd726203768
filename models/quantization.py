"""Eight-bit networks: convolutions and what lies between them on integers, the ends in float32.

Static, from calibration images: activations unsigned with one scale a tensor, weights signed with one a channel, as
QuantizeLinear and DequantizeLinear around each operation (QDQ). The normalisation of pixels, the pooling to the
feature vector and the classifier stay in float32: they cost next to nothing, and rounding them costs accuracy.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from models.anatomy import classifier_inputs
from models.card import card_of, write_card
from models.errors import ModelError
from models.folding import fold_into_layers
from models.graph import copied, needed, producers, prune, reader_counts, weight_names
from models.layout import layouts_of
from models.metadata import drop_entries
from models.names import EMBEDDING, PRE_LOGITS
from models.wording import first_line

OPERATORS = ("Conv", "Gemm", "MatMul", "Relu", "Clip", "Concat", "Add", "MaxPool", "AveragePool")
SUFFIX = ".int8"
_LAYERS = ("Conv", "Gemm", "MatMul")
# By this metadata onnxruntime knows that a model was prepared; it adds more.
_PREPARED = "onnx.quant.pre_process"


def quantize(model: ModelProto, images: Iterable[NDArray[np.uint8]]) -> ModelProto:
    """An int8 version of a model, calibrated on decoded images, uint8 (H, W, 3), one after the other.

    The card goes along, under another name and without accuracies that were measured on the original.

    Raises:
        ModelError: a network without convolutions or matrix products, or in eight bits already, no images, or one that
            onnxruntime refuses.
    """
    if any("Quantize" in node.op_type for node in model.graph.node):
        raise ModelError(
            "the network is in eight bits already; expected float32 or float16. Give the original."
        )
    prepared = prepare(model)
    if not any(node.op_type in _LAYERS for node in prepared.graph.node):
        raise ModelError(
            "the network has neither convolutions nor matrix products; there is nothing to quantize."
        )
    stream = iter(images)
    first = next(stream, None)
    if first is None:
        raise ModelError("no calibration image could be read; expected some dozens. Check the folder.")
    excluded = [*_normalisation(prepared), *_ends(prepared)]
    quantized = _quantize(prepared, _Feed(first, stream), excluded)
    card = card_of(model)
    if card is not None:
        reject = card.reject
        if reject is not None:
            reject = dataclasses.replace(reject, auroc=None, measured="threshold of the float32 version")
        write_card(
            quantized,
            dataclasses.replace(card, name=card.name + SUFFIX, accuracy=(), regression=(), reject=reject),
        )
    return quantized


def prepare(model: ModelProto) -> ModelProto:
    """A copy that computes the same and quantizes well.

    Weights are plain float32, batch norm is inside the convolutions, average pools stand behind 1x1 convolutions that
    make fewer channels, and each node has a name.
    """
    prepared = copied(model)
    drop_entries(prepared)
    # No output depends on it, and it is where features are taken.
    kept = [onnx.ValueInfoProto(name=name) for name in {PRE_LOGITS} & producers(prepared.graph).keys()]
    prepared.graph.output.extend(kept)
    _widen(prepared)
    fold_into_layers(prepared.graph, ("BatchNormalization",))
    _pool_late(prepared)
    for number, node in enumerate(prepared.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    prune(prepared.graph, [value.name for value in prepared.graph.output])
    del prepared.graph.output[len(prepared.graph.output) - len(kept) :]
    return prepared


def _quantize(model: ModelProto, feed: _Feed, excluded: list[str]) -> ModelProto:
    from onnxruntime.quantization import (  # 0.3 s, and only needed here
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            image = next(feed, None)
            return None if image is None else {model.graph.input[0].name: image[None]}  # (1, H, W, 3)

    model.metadata_props.add(key=_PREPARED, value="onnxruntime.quant")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        try:
            quantize_static(
                model,
                target,
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(OPERATORS),
                nodes_to_exclude=excluded,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
            quantized = onnx.load(target)
        except Exception as exc:  # it raises whatever its parts raise
            raise ModelError(
                f"onnxruntime cannot quantize the network ({first_line(exc)}). Use it in float32."
            ) from exc
    quantized.ir_version = model.ir_version
    for position in reversed(range(len(quantized.metadata_props))):
        if quantized.metadata_props[position].key.startswith("onnx."):
            del quantized.metadata_props[position]
    return quantized


def _normalisation(model: ModelProto) -> list[str]:
    """Names of the nodes between the image and the first layers."""
    constants, early, names = weight_names(model.graph), {model.graph.input[0].name}, []
    for node in model.graph.node:  # in topological order, as ONNX demands
        varying = [name for name in node.input if name and name not in constants]
        if node.op_type not in _LAYERS and varying and early.issuperset(varying):
            early.update(node.output)
            names.append(node.name)
    return names


def _ends(model: ModelProto) -> list[str]:
    """Names of the nodes that no feature vector needs: the classifier, and what else a fine-tuned model ends in."""
    made = producers(model.graph)
    features = (EMBEDDING,) if EMBEDDING in made else classifier_inputs(model, layouts_of(model))
    if not features:
        return []
    kept = needed(model.graph, features)
    return [node.name for i, node in enumerate(model.graph.node) if i not in kept]


class _Feed(Iterator[NDArray[np.uint8]]):
    """The calibration images, of which one has been taken to see whether there is any."""

    def __init__(self, first: NDArray[np.uint8], rest: Iterator[NDArray[np.uint8]]) -> None:
        self._first: NDArray[np.uint8] | None = first
        self._rest = rest

    def __next__(self) -> NDArray[np.uint8]:
        first, self._first = self._first, None
        return next(self._rest) if first is None else first


def _widen(model: ModelProto) -> None:
    """Replace half-precision weights behind a Cast by float32 ones."""
    weights = {value.name: value for value in model.graph.initializer}
    kept: list[NodeProto] = []
    for node in model.graph.node:
        weight = weights.get(node.input[0]) if node.op_type == "Cast" else None
        if weight is not None and node.attribute[0].i == TensorProto.FLOAT:
            values = numpy_helper.to_array(weight).astype(np.float32)
            model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _pool_late(model: ModelProto) -> None:
    """Swap an average pool and the 1x1 convolution behind it: both are linear, and there are fewer channels then.

    onnxruntime's integer average pool is slow: with Inception's pool branches as they are it took 30 % of the time.
    Where padding counts as zeros the bias has to come last, because the pool would take a part of it away.
    """
    graph = model.graph
    weights = {value.name: value for value in graph.initializer}
    made, readers = producers(graph), reader_counts(graph)
    for conv in [node for node in graph.node if node.op_type == "Conv"]:
        pool = made.get(conv.input[0])
        if pool is None or pool.op_type != "AveragePool" or readers[conv.input[0]] > 1:
            continue
        kernel = weights.get(conv.input[1])
        options = {a.name: helper.get_attribute_value(a) for a in conv.attribute}
        moves = (
            any(options.get("pads", ()))
            or set(options.get("strides", ())) - {1}
            or options.get("group", 1) > 1
        )
        if kernel is None or moves or list(kernel.dims[2:]) != [1, 1] or kernel.dims[0] >= kernel.dims[1]:
            continue
        output, last = conv.output[0], []
        counts = any(a.name == "count_include_pad" and a.i for a in pool.attribute)
        if counts and len(conv.input) > 2:
            bias = numpy_helper.to_array(weights[conv.input[2]]).reshape(1, -1, 1, 1)  # (1, C, 1, 1)
            graph.initializer.append(numpy_helper.from_array(bias, f"{output}/bias"))
            last = [helper.make_node("Add", [f"{output}/pooled", f"{output}/bias"], [output])]
            del conv.input[2:]
        early = helper.make_node("Conv", [pool.input[0], *conv.input[1:]], [f"{output}/early"], **options)
        late = helper.make_node("AveragePool", [f"{output}/early"], [f"{output}/pooled" if last else output])
        late.attribute.extend(pool.attribute)
        position = list(graph.node).index(conv)
        graph.node.remove(conv)
        for node in reversed([early, late, *last]):
            graph.node.insert(position, node)
        graph.node.remove(pool)
