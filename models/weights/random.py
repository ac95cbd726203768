"""Weights out of a seed: a full-size network for benchmarks and tests, without a download.

Every tensor depends on the seed and its own name alone. The numbers are made from the raw bits of PCG64, whose
stream NumPy guarantees for all versions, which it does not for its distributions (NEP 19): golden vectors last.
"""

from __future__ import annotations

import hashlib
import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.architectures.blueprint import Blueprint
from models.weights.canonical import Weights, expected_shapes

Kind = Literal["kernel", "scale", "shift", "mean", "variance"]
_KINDS: dict[str, Kind] = {"running_mean": "mean", "running_var": "variance", "bias": "shift"}


def random_weights(blueprint: Blueprint, seed: int = 0) -> Weights:
    """Random weights under which activations neither vanish nor explode, and batch norm is not the identity."""
    return {
        name: random_tensor(kind_of(name), name, shape, seed)
        for name, shape in expected_shapes(blueprint).items()
    }


def kind_of(name: str) -> Kind:
    """What a canonical tensor is for, by its name."""
    part = name.rpartition(".")[2]
    return _KINDS.get(part) or ("scale" if name.endswith(".bn.weight") else "kernel")


def random_tensor(kind: Kind, name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """A float32 tensor of the given kind.

    Kernels (filters, channels, ...) are uniform with variance 2 / fan-in, which keeps the second moment of the
    activations through a ReLU (He et al., "Delving Deep into Rectifiers", 2015, eq. 10). A scale and a variance lie
    in [0.75, 1.25), a shift and a mean in [-0.1, 0.1).
    """
    unit = uniform(name, shape, seed)
    if kind == "kernel":
        return unit * np.float32(math.sqrt(6 / math.prod(shape[1:])))
    if kind in ("scale", "variance"):
        return 1 + np.float32(0.25) * unit
    return np.float32(0.1) * unit


def uniform(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Float32 numbers in [-1, 1), a function of name, shape and seed alone."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    count = math.prod(shape)
    raw = np.random.PCG64(int.from_bytes(digest[:16], "little")).random_raw((count + 1) // 2)
    bits = np.asarray(raw, "<u8").view("<u4")[:count]
    return ((bits >> 8).astype(np.float32) * np.float32(2**-23) - 1).reshape(shape)
