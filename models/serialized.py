"""Networks as bytes and files, also those that are larger than the 2 GiB which protobuf puts into one string.

Their weights go into a file beside the graph, one after the other, and are never in one piece.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from onnx import GraphProto, ModelProto, TensorProto

from models.config import RuntimeConfig
from models.files import write_atomically
from models.runtime import OnnxSession

LIMIT = 2**31 - 2**24  # bytes; some room for what is not weights
_SMALL = 1024  # bytes that a weight in the graph itself may have
_ALIGNED = 4096  # where weights begin in their file, so that it can be mapped


def bytes_if_small(model: ModelProto) -> bytes | ModelProto:
    """The bytes of a network; the network itself where they would be too many."""
    return model if is_large(model) else model.SerializeToString()


def is_large(model: ModelProto) -> bool:
    """Whether a network does not fit into one string."""
    return sum(len(weight.raw_data) for weight in model.graph.initializer) > LIMIT


def session_of(
    model: ModelProto | bytes, config: RuntimeConfig | None = None, *, quiet: bool = False
) -> OnnxSession:
    """A session of a network of any size; see `OnnxSession`.

    Raises:
        DeviceError: the device was asked for by name and cannot be had.
        ModelError: a network that onnxruntime cannot run.
        OutputError: the disk has no room for the weights of a large one.
    """
    model = bytes_if_small(model) if isinstance(model, ModelProto) else model
    if isinstance(model, bytes):
        return OnnxSession(model, config, quiet=quiet)
    # onnxruntime has mapped or read the weights when it is there.
    with tempfile.TemporaryDirectory(prefix="graft-large-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "model.onnx"
        write_model(path, model)
        return OnnxSession(path, config, quiet=quiet)


def write_model(path: Path, model: ModelProto) -> int:
    """Write a network, and the weights of a large one into PATH.data beside it; returns how many bytes that is.

    Equal networks give equal bytes.

    Raises:
        OutputError: the disk is full or the folder is not writable.
    """
    if not is_large(model):
        data = model.SerializeToString(deterministic=True)
        write_atomically(path, data)
        return len(data)
    beside = path.with_name(f"{path.name}.data")
    graph, end = _apart(model, beside.name)
    write_atomically(beside, _in_a_row(model.graph.initializer))
    data = graph.SerializeToString(deterministic=True)
    write_atomically(path, data)
    return len(data) + end


def content_digest(model: ModelProto) -> str:
    """A SHA-256 of all that is in a network."""
    if not is_large(model):
        return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    total = hashlib.sha256(_apart(model, "")[0].SerializeToString(deterministic=True))
    for chunk in _in_a_row(model.graph.initializer):
        total.update(chunk)
    return total.hexdigest()


def _apart(model: ModelProto, location: str) -> tuple[ModelProto, int]:
    """The network with its large weights in the file `location`, and the size of that."""
    weights, position = [], 0
    for weight in model.graph.initializer:
        length = len(weight.raw_data)
        if length <= _SMALL:
            weights.append(weight)
            continue
        position = -(-position // _ALIGNED) * _ALIGNED
        outside = TensorProto(name=weight.name, dims=weight.dims, data_type=weight.data_type)
        outside.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", position), ("length", length)):
            outside.external_data.add(key=key, value=str(value))
        weights.append(outside)
        position += length
    graph = model.graph
    bare = GraphProto(
        name=graph.name,
        node=graph.node,
        initializer=weights,
        input=graph.input,
        output=graph.output,
        value_info=graph.value_info,
    )
    apart = ModelProto(
        ir_version=model.ir_version,
        opset_import=model.opset_import,
        functions=model.functions,
        metadata_props=model.metadata_props,
        producer_name=model.producer_name,
        graph=bare,
    )
    return apart, position


def _in_a_row(weights: Iterable[TensorProto]) -> Iterator[bytes]:
    """The bytes of the file of weights, as `_apart` lays them out."""
    position = 0
    for weight in weights:
        if len(weight.raw_data) > _SMALL:
            gap = -position % _ALIGNED
            yield bytes(gap)
            yield weight.raw_data
            position += gap + len(weight.raw_data)
