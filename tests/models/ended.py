"""Networks that end in whatever a test puts behind their scores, imported, and what they give by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import NodeProto

from models.card import Label, ModelCard, card_of
from models.importing import ImportOptions, import_model
from models.model import Model
from models.runtime import OnnxSession, RuntimeConfig
from tests.models.nets import node, save

PIXELS = np.random.default_rng(3).integers(0, 256, (3, 32, 32, 3), np.uint8)
Array = NDArray[Any]


def labels(*names: str) -> tuple[Label, ...]:
    return tuple(Label(name, name) for name in names)


def network(
    path: Path,
    ends: list[NodeProto],
    weights: dict[str, Array] | None = None,
    *,
    classes: int = 5,
    outputs: tuple[str, ...] = ("out",),
    **options: Any,
) -> Path:
    """A convolution, a mean over positions, and a matrix product to `scores` (N, classes); behind it `ends`."""
    rng = np.random.default_rng(7)
    own = {
        "w": rng.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "head": rng.standard_normal((8, classes)).astype(np.float32),
    }
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("GlobalAveragePool", ["r"], ["gap"]),
        node("Flatten", ["gap"], ["flat"]),
        node("MatMul", ["flat", "head"], ["scores"]),
    ]
    return save(path, [*nodes, *ends], own | (weights or {}), outputs=outputs, **options)


def original(path: Path, output: str = "out") -> Array:
    """What the network gives by itself, fed with pixels from 0 to 1, an image at a time."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rows = [(PIXELS[i : i + 1] / 255).transpose(0, 3, 1, 2).astype(np.float32) for i in range(len(PIXELS))]
    return np.stack([np.asarray(session.run([output], {"x": row})[0]).ravel() for row in rows])


def opened(path: Path, **options: Any) -> tuple[Model, ModelCard, str]:
    proto, notes = import_model(path, ImportOptions(**{"scale": "0..1", **options}))
    card = card_of(proto)
    assert card is not None
    session = OnnxSession(proto.SerializeToString(), RuntimeConfig(device="cpu", threads=1))
    return Model(session, card), card, "\n".join(notes)


def softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
