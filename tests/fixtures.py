"""Small things that tests are made of: images as bytes, a port, and a classifier that anyone can check by eye."""

from __future__ import annotations

import io
import socket
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, save
from PIL import Image

from models.card import Cut, Label, ModelCard, write_card
from models.opset import IR_VERSION, opset_imports
from models.preprocessing import Preprocessing

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
SHARPNESS = 10.0  # logits of a pure colour: (10, 0, 0)


def tiny_classifier(path: Path, *, size: int = 16, batch_size: int | None = None) -> Path:
    """Write a classifier of three classes: the logit of a colour is its mean share in the image, times ten."""
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["pixels", "white"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled", "axes"], ["pool"], keepdims=0),
        helper.make_node("Mul", ["pool", "sharpness"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = [
        helper.make_tensor("white", TensorProto.FLOAT, [], [255.0]),
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("sharpness", TensorProto.FLOAT, [], [SHARPNESS]),
    ]
    rows = batch_size or "N"
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [rows, size, size, 3])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [rows, 3]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [rows, 3]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=opset_imports(), ir_version=IR_VERSION)
    write_card(
        model,
        ModelCard(
            "tiny",
            "classification",
            Preprocessing((size, size), "squash"),
            labels=tuple(Label(f"c{i}", name) for i, name in enumerate(COLOURS)),
            cuts=(Cut("pool", (3,)), Cut("logits", (3,))),
            description="mean colour, for tests",
            batch_size=batch_size,
        ),
    )
    save(model, path)
    return path


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of an image file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def plain(colour: str | tuple[int, ...], size: tuple[int, int] = (20, 20), kind: str = "PNG") -> bytes:
    """An image file of one colour."""
    return encoded(Image.new("RGB", size, COLOURS.get(str(colour), colour)), kind)


def photo(size: tuple[int, int] = (64, 48), seed: int = 0) -> Image.Image:
    """An image with something on it: smooth noise, the same for the same seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def png_bomb(side: int = 30_000) -> bytes:
    """A PNG of `side` x `side` black pixels, one bit each, in a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    squeeze = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    pixels = b"".join([*(squeeze.compress(row) for _ in range(side)), squeeze.flush()])
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that nobody else is given while the block runs, and that refuses connections.

    A server that reuses addresses can listen on it, but nobody else.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = int(held.getsockname()[1])
        if sys.platform != "linux":  # elsewhere nobody listens on an address that is held
            held.close()
        yield port
