"""Reads ONNX files as others leave them: with weights beside them, newer than onnxruntime, or in disorder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from models.errors import ModelError
from models.files import sha256
from models.graph import reads
from models.opset import IR_VERSION
from models.wording import first_line


def load(path: str | Path) -> ModelProto:
    """Read an ONNX file, with its external data; nodes come in an order in which they can run.

    A newer IR version becomes ours: onnxruntime refuses some, and networks do not use what they are for. Whether the
    network is sound is left to onnxruntime: onnx's own checker refuses files that run.

    Raises:
        ModelError: not an ONNX file, a damaged one, or one whose weights are missing.
    """
    try:
        model = onnx.load(path, load_external_data=False)
        if not model.graph.node:
            raise ValueError("it has no nodes")
    except Exception as exc:  # protobuf, onnx and the file system each have their own
        raise _invalid(path, exc) from exc
    _require(model, path)
    try:
        if data_files(model, path):
            onnx.load_external_data_for_model(model, str(Path(path).parent))
    except Exception as exc:  # a file that is too short, or a path that leads elsewhere
        raise _invalid(path, exc) from exc
    model.ir_version = min(model.ir_version, IR_VERSION)
    sort(model.graph)
    return model


def require_weights(path: Path) -> None:
    """Look whether the files are there in which the weights of a network lie.

    Raises:
        ModelError: one is missing.
    """
    model = ModelProto()
    with contextlib.suppress(Exception):  # a file that is none has been refused already
        model = onnx.load(path, load_external_data=False)
    _require(model, path)


def _require(model: ModelProto, path: str | Path) -> None:
    for file in data_files(model, path):
        if not file.is_file():
            raise ModelError(
                f"{path}: its weights lie in {file.name}, which is not beside it. Copy that file too, under this name."
            )


def _invalid(path: str | Path, exc: Exception) -> ModelError:
    return ModelError(f"{path}: not a valid ONNX model ({first_line(exc)}). Export or download it again.")


def data_files(model: ModelProto, path: str | Path) -> list[Path]:
    """The files beside a network in which its weights lie, as far as these have not been read yet."""
    weights = [weight for weight in _tensors(model.graph) if uses_external_data(weight)]
    names = dict.fromkeys(ExternalDataInfo(weight).location for weight in weights)
    return [Path(path).parent / name for name in names]


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Weights, and what Constant nodes and the bodies of others hold."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
            for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors(body)


def digest(path: Path) -> str:
    """The SHA-256 of a network's file and, behind it, of those in which its weights lie."""
    return sha256(path, *data_files(onnx.load(path, load_external_data=False), path))


def octets(path: Path) -> int:
    """Bytes of a network's file and of those in which its weights lie."""
    files = (path, *data_files(onnx.load(path, load_external_data=False), path))
    return sum(file.stat().st_size for file in files)


def sort(graph: GraphProto) -> None:
    """Put nodes behind those whose results they read, as ONNX demands and converters to half precision forget.

    Those that are in order keep it.
    """
    nodes, ordered = list(graph.node), list[NodeProto]()
    made = {name: position for position, node in enumerate(nodes) for name in node.output if name}
    needs = [[made[name] for name in reads(node) if name in made] for node in nodes]
    begun: set[int] = set()
    for first in range(len(nodes)):
        path = [] if first in begun else [(first, iter(needs[first]))]
        begun.add(first)
        while path:
            position, rest = path[-1]
            # Of a circle one stays in front of what it reads: onnxruntime says so.
            before = next((each for each in rest if each not in begun), None)
            if before is None:
                ordered.append(nodes[position])
                path.pop()
            else:
                begun.add(before)
                path.append((before, iter(needs[before])))
    del graph.node[:]
    graph.node.extend(ordered)
