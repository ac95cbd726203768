"""Reads what `torch.save(model.state_dict(), path)` writes, in both of its formats, without PyTorch.

Zip (since PyTorch 1.6): `<top>/data.pkl` describes the tensors, `<top>/data/<key>` hold their storages, uncompressed.
Legacy: five pickles after one another (magic number, version, system, description, keys of the storages), then for
each key the number of elements as int64 and the elements. Source: torch/serialization.py, `_save` and `_legacy_save`.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import WeightsError
from models.weights.unpickling import Global, Unpickler

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_BFLOAT16 = "torch.BFloat16Storage"
_DTYPES = {  # NumPy has no bfloat16: its bits are read as integers, and widened
    "torch.FloatStorage": "f4",
    "torch.DoubleStorage": "f8",
    "torch.HalfStorage": "f2",
    _BFLOAT16: "u2",
    "torch.LongStorage": "i8",
    "torch.IntStorage": "i4",
    "torch.ShortStorage": "i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "?",
}


@dataclass(frozen=True)
class _Storage:
    """A run of elements that tensors look into."""

    type: str
    key: str
    count: int

    def dtype(self, big_endian: bool) -> np.dtype[Any]:
        return np.dtype((">" if big_endian else "<") + _DTYPES[self.type])

    def array(self, elements: np.ndarray) -> np.ndarray:
        if self.type == _BFLOAT16:  # the upper half of a float32
            return (elements.astype(np.uint32) << 16).view(np.float32)
        return elements


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage: where it begins, its shape and its steps, all in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_zip(path: Path) -> dict[str, np.ndarray]:
    """Tensors of a `.pth` file in the zip format.

    Raises:
        WeightsError: the file is damaged, holds something else than tensors, or would run code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _from_archive(archive, path.stat().st_size, str(path))
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, struct.error) as exc:
        raise _damaged(str(path), str(exc)) from exc


def read_legacy(path: Path) -> dict[str, np.ndarray]:
    """Tensors of a `.pth` file in the format from before PyTorch 1.6.

    Raises:
        WeightsError: the file is damaged, holds something else than tensors, or would run code.
    """
    where, content = str(path), path.read_bytes()
    stream = io.BytesIO(content)
    unpickler, storages = _unpickler(stream, where)
    if unpickler.load() != LEGACY_MAGIC:
        raise WeightsError(
            f"{where}: a pickle, but not one of torch.save; expected a .pth file with a state dict."
        )
    _, system, root, keys = (unpickler.load() for _ in range(4))
    big_endian = isinstance(system, dict) and system.get("little_endian") is False
    arrays: dict[str, np.ndarray] = {}
    named = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not named or sorted(keys) != sorted(storages):
        raise _damaged(where, "its list of storages does not fit its tensors")
    for key in keys:
        storage, start = storages[key], stream.tell()
        size = storage.count * storage.dtype(big_endian).itemsize
        count = int.from_bytes(stream.read(8), "big" if big_endian else "little")
        if count != storage.count or start + 8 + size > len(content):
            raise _damaged(where, f"storage {key} should hold {storage.count} elements and does not")
        elements = np.frombuffer(content, storage.dtype(big_endian), storage.count, start + 8)
        arrays[key] = storage.array(elements)
        stream.seek(size, io.SEEK_CUR)
    return _tensors(root, arrays, where)


def _from_archive(archive: zipfile.ZipFile, size: int, where: str) -> dict[str, np.ndarray]:
    infos = {info.filename: info for info in archive.infolist()}
    if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in infos.values()):
        raise WeightsError(
            f"{where}: a compressed or encrypted zip file; expected one that torch.save wrote."
        )
    if sum(info.file_size for info in infos.values()) > size:
        raise _damaged(where, f"it declares more bytes than the {size} that it has")
    top = next((name.removesuffix("data.pkl") for name in infos if name.endswith("data.pkl")), None)
    if top is None:
        raise WeightsError(f"{where}: a zip file without data.pkl; expected one that torch.save wrote.")
    stream = io.BytesIO(archive.read(f"{top}data.pkl"))
    unpickler, storages = _unpickler(stream, where)
    root = unpickler.load()
    big_endian = f"{top}byteorder" in infos and archive.read(f"{top}byteorder") == b"big"
    arrays: dict[str, np.ndarray] = {}
    for key, storage in storages.items():
        dtype, info = storage.dtype(big_endian), infos.get(f"{top}data/{key}")
        if info is None or info.file_size != storage.count * dtype.itemsize:
            held = "no bytes" if info is None else f"{info.file_size} bytes"
            raise _damaged(where, f"storage {key} has {held} for {storage.count} elements of {dtype}")
        arrays[key] = storage.array(np.frombuffer(archive.read(info), dtype))
    return _tensors(root, arrays, where)


def _unpickler(stream: io.BytesIO, where: str) -> tuple[Unpickler, dict[str, _Storage]]:
    """An unpickler for state dicts, and the storages that it has met so far."""
    storages: dict[str, _Storage] = {}

    def resolve(identity: Any) -> _Storage:
        # The sixth item, of the legacy format, describes a view of a storage; it is None since PyTorch 0.4.
        tag, kind, key, _, count, *view = identity
        fits = tag == "storage" and isinstance(kind, Global) and kind.name in _DTYPES and isinstance(key, str)
        if not fits or not isinstance(count, int) or count < 0 or view not in ([], [None]):
            raise ValueError("a reference to data that is no storage")
        storage = _Storage(kind.name, key, count)
        if storages.setdefault(key, storage) != storage:
            raise ValueError(f"storage {key} is described in two ways")
        return storage

    functions: dict[str, Callable[..., Any]] = {
        "collections.OrderedDict": dict,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils._rebuild_parameter": lambda tensor, requires_grad, hooks: tensor,
    }
    return Unpickler(stream, where, functions, frozenset(_DTYPES), resolve), storages


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    """Stands in for PyTorch's function; what follows the strides concerns gradients."""
    numbers = (offset, *shape, *strides)
    fits = isinstance(storage, _Storage) and all(isinstance(n, int) and n >= 0 for n in numbers)
    if not fits or len(shape) != len(strides):
        raise ValueError("a tensor whose storage, shape or strides make no sense")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _tensors(root: Any, arrays: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    if not isinstance(root, dict) or not all(isinstance(tensor, _Tensor) for tensor in root.values()):
        raise WeightsError(
            f"{where}: it holds something else than named tensors; expected a state dict. "
            "Save model.state_dict() with torch.save and give that file."
        )
    return {str(name): _view(tensor, arrays[tensor.storage.key], where) for name, tensor in root.items()}


def _view(tensor: _Tensor, elements: np.ndarray, where: str) -> np.ndarray:
    """The tensor's view of its storage, read-only; nothing is copied."""
    steps = zip(tensor.shape, tensor.strides, strict=True)
    last = tensor.offset + sum((size - 1) * stride for size, stride in steps)
    count = math.prod(tensor.shape)
    # Values that repeat (stride 0) could make a small file fill the memory of whoever copies the tensor.
    if count and (last >= elements.size or count > elements.size):
        raise _damaged(where, f"a tensor of shape {tensor.shape} does not fit its {elements.size} elements")
    if not count:
        return np.empty(tensor.shape, elements.dtype)
    strides = tuple(
        s * elements.itemsize if n > 1 else 0 for n, s in zip(tensor.shape, tensor.strides, strict=True)
    )
    return np.lib.stride_tricks.as_strided(elements[tensor.offset :], tensor.shape, strides, writeable=False)


def _damaged(where: str, what: str) -> WeightsError:
    return WeightsError(
        f"{where}: damaged ({what}); expected a .pth file as torch.save wrote it. Download it again."
    )
