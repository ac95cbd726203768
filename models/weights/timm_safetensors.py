"""Reads `.safetensors` files, in which timm publishes weights under torchvision's names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.errors import WeightsError


def read(path: Path) -> dict[str, np.ndarray]:
    """Tensors of a `.safetensors` file.

    Raises:
        WeightsError: the file is damaged, or holds numbers of a kind that NumPy does not have.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = dict(load_file(path))
    except (SafetensorError, KeyError, OSError, TypeError) as exc:
        raise _unreadable(path, str(exc)) from exc
    for name, tensor in tensors.items():
        # bfloat16 and its like; whether they load depends on who imported ml_dtypes.
        if tensor.dtype.kind == "V":
            raise _unreadable(path, f"{name} is {tensor.dtype}")
    return tensors


def _unreadable(path: Path, what: str) -> WeightsError:
    return WeightsError(
        f"{path}: cannot be read ({what}); expected a .safetensors file of float16, float32 or float64 tensors. "
        "Download it again, or convert it."
    )
