"""Reads published weights: one module for each file format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.architectures.blueprint import Blueprint
from models.errors import WeightsError

_ZIP, _HDF5, _PICKLE = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\x80"


def read(path: Path | str, blueprint: Blueprint | None = None) -> dict[str, np.ndarray]:
    """Read a file of weights; its content, not its name, says which format it has.

    Tensors come under the file's own names, which for PyTorch and timm are the canonical ones, in the file's own
    precision. Keras numbers its layers instead of naming them: they get the names of `blueprint`, by default
    InceptionV3, the one network published in that format.

    Raises:
        WeightsError: no such file, an unknown format, a damaged file, or one that would run code.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as exc:
        raise WeightsError(f"{path}: cannot be opened ({exc.strerror}). Check the path.") from exc
    if head.startswith(_ZIP):
        from models.weights.torch_pth import read_zip

        return read_zip(path)
    if head.startswith(_HDF5):
        from models.architectures.inception_v3 import inception_v3
        from models.weights import keras_h5

        return keras_h5.read(path, blueprint or inception_v3(variant="keras"))
    if head[8:] == b"{":  # after the length of its JSON header
        from models.weights import timm_safetensors

        return timm_safetensors.read(path)
    if head.startswith(_PICKLE):
        from models.weights.torch_pth import read_legacy

        return read_legacy(path)
    raise WeightsError(
        f"{path}: not a file of weights ({len(head)} bytes read, beginning {head[:8]!r}); expected .pth from PyTorch, "
        ".safetensors from timm or .h5 from Keras."
    )
