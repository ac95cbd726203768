"""What makes two computations the same: digests of graphs, of preprocessing, and of images.

Names, order of nodes and metadata do not count: a network that was renamed, or got a new head, computes the same up
to the cut.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper
from PIL import Image, features
from PIL import __version__ as pillow_version

from models.graph import element_type, reads, shape_of
from models.image_kinds import HEAD, revision
from models.preprocessing import Preprocessing

_DECODERS = ("jpg", "libjpeg_turbo", "webp", "avif", "zlib")


def graph_digests(model: ModelProto, outputs: Sequence[str]) -> tuple[str, ...]:
    """A SHA-256, 64 hexadecimal digits, of the computation of each output.

    A tensor's digest is made of its operation, the attributes and the digests of its inputs (a Merkle tree); a
    weight's of its values, the network's input of its type and shape without the batch.
    """
    graph = model.graph
    versions = sorted((o.domain, o.version) for o in model.opset_import)
    known: dict[str, bytes] = {"": b"none"}
    for value in graph.input:
        known[value.name] = _hash("input", element_type(value), shape_of(value)[1:])
    for weight in graph.initializer:
        known[weight.name] = _weight(weight)
    for node in graph.node:  # in topological order, as ONNX demands
        inputs = [known[name] for name in node.input]
        # What a branch or a loop body reads from outside. Its own names are not known here.
        captured = [known[name] for name in reads(node) if name in known]
        base = _hash(node.domain, node.op_type, _attributes(node), inputs, captured, versions)
        for position, name in enumerate(node.output):
            known[name] = _hash(base, position)
    return tuple(known[name].hex() for name in outputs)


def preprocessing_digest(preprocessing: Preprocessing, *, exact: bool = False) -> str:
    """A SHA-256 of all that decides about pixels: the settings, Pillow and the decoders in it."""
    decoders = {name: features.version(name) for name in _DECODERS if features.check(name)}
    return _hash(
        json.dumps(preprocessing.to_json(), sort_keys=True), exact, pillow_version, sorted(decoders.items())
    ).hex()


def image_digest(content: bytes | Image.Image | NDArray[np.uint8]) -> bytes:
    """A SHA-256 (32 bytes) of a file with what else decides about its pixels, or of the pixels of a decoded image."""
    if isinstance(content, bytes):
        digest = hashlib.sha256(content)
        digest.update(revision(content[:HEAD]))
        return digest.digest()
    if isinstance(content, Image.Image):
        return _hash(content.mode, content.size, content.tobytes(), sorted(content.getexif().items()))
    return _hash(content.dtype.str, content.shape, content.tobytes())


def _weight(weight: TensorProto) -> bytes:
    values = numpy_helper.to_array(weight)
    return _hash(weight.data_type, values.shape, values.tobytes())


def _attributes(node: NodeProto) -> Iterable[bytes]:
    return sorted(
        attribute.SerializeToString(deterministic=True)
        for attribute in node.attribute
        if attribute.name != "doc_string"
    )


def _hash(*parts: Any) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(len(data).to_bytes(8, "little"))  # so that ("ab", "c") is not ("a", "bc")
        digest.update(data)
    return digest.digest()
