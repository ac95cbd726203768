"""Arrays in JSON: {"shape", "data"}, little-endian, compressed by zlib, in base64."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LARGEST = 1 << 22  # bytes of an array; no file of ours has more


def packed(array: NDArray[Any], kind: str) -> dict[str, Any]:
    """An array as JSON holds it, its numbers as `kind` ("u1", "<f4", "<f8")."""
    data = zlib.compress(np.ascontiguousarray(array, kind).tobytes(), 9)
    return {"shape": list(array.shape), "data": base64.b64encode(data).decode("ascii")}


def unpacked(values: Mapping[str, Any], kind: str) -> NDArray[Any]:
    """The array; never more than four megabytes, whatever it says.

    Raises:
        ValueError, KeyError, TypeError: it was not written by `packed`.
    """
    shape = tuple(values["shape"])
    expected = math.prod(shape) * np.dtype(kind).itemsize
    if not all(type(size) is int and size >= 0 for size in shape) or expected > _LARGEST:
        raise ValueError(f"an array of shape {str(shape)[:60]}")
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(values["data"], validate=True), expected + 1)
    except (zlib.error, binascii.Error) as exc:
        raise ValueError(str(exc)) from exc
    if len(data) != expected:
        raise ValueError(f"an array of shape {shape} with another number of bytes")
    return np.frombuffer(data, kind).reshape(shape)
