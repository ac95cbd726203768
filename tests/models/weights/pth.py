"""Writes `.pth` files opcode by opcode, so that tests can make right ones and any kind of wrong one."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.weights.torch_pth import LEGACY_MAGIC

STORAGES = {"float32": "torch.FloatStorage", "int64": "torch.LongStorage"}


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def number(value: int) -> bytes:
    encoded = value.to_bytes(16, "little", signed=True)
    return b"\x8a" + bytes([len(encoded)]) + encoded


def sequence(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def name(value: str) -> bytes:
    module, _, attribute = value.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def call(function: str, *arguments: bytes) -> bytes:
    return name(function) + sequence(*arguments) + b"R"


def mapping(items: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def pickled(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def tensor(
    shape: tuple[int, ...],
    key: str = "0",
    count: int | None = None,
    offset: int = 0,
    strides: tuple[int, ...] | None = None,
    storage: str = "torch.FloatStorage",
) -> bytes:
    """A tensor of a state dict; what is not given is as PyTorch would have it."""
    contiguous = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    size = int(np.prod(shape)) if count is None else count
    identity = sequence(text("storage"), name(storage), text(key), text("cpu"), number(size))
    return call(
        "torch._utils._rebuild_tensor_v2",
        identity + b"Q",
        number(offset),
        sequence(*map(number, shape)),
        sequence(*map(number, contiguous if strides is None else strides)),
        b"\x89",
        call("collections.OrderedDict"),
    )


def write_zip(path: Path, tensors: Mapping[str, np.ndarray]) -> Path:
    """A right file, in the zip format."""
    body, storages = {}, {}
    for index, (key, values) in enumerate(tensors.items()):
        body[key] = tensor(values.shape, str(index), storage=STORAGES[values.dtype.name])
        storages[str(index)] = np.ascontiguousarray(values).tobytes()
    return write_parts(path, pickled(mapping(body)), storages)


def write_parts(
    path: Path,
    description: bytes,
    storages: Mapping[str, bytes],
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", description)
        for key, content in storages.items():
            archive.writestr(f"archive/data/{key}", content)
    return path


def write_legacy(
    path: Path, body: bytes, storages: Mapping[str, tuple[int, bytes]], big_endian: bool = False
) -> Path:
    """A file of the legacy format; each storage says how many elements it has."""
    keys = b"](" + b"".join(map(text, storages)) + b"e"
    system = mapping({"little_endian": b"\x89" if big_endian else b"\x88"})
    parts = [number(LEGACY_MAGIC), number(1001), system, body, keys]
    order = ">" if big_endian else "<"
    data = [struct.pack(f"{order}q", count) + content for count, content in storages.values()]
    path.write_bytes(b"".join([*map(pickled, parts), *data]))
    return path
