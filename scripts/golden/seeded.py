"""What both sides of a golden comparison make from the seed: weights, images, and which values are looked at.

Needs NumPy alone: the tests import it too. Weights are made under the names of the reference, in its layout.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.weights.random import Kind, kind_of, random_tensor, uniform

FOLDER = Path(__file__).parents[2] / "tests" / "models" / "golden"
SEED = 2015
SAMPLES = 512
BLOCKS = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
_KERAS_KINDS: dict[str, Kind] = {
    "kernel": "kernel",
    "gamma": "scale",
    "beta": "shift",
    "bias": "shift",
    "moving_mean": "mean",
    "moving_variance": "variance",
}


def images(size: int = 299, count: int = 2) -> NDArray[np.uint8]:
    """Noise, uint8 (N, H, W, 3)."""
    return np.floor((uniform("images", (count, size, size, 3), SEED) + 1) * 128).astype(np.uint8)


def torch_tensor(name: str, shape: Iterable[int]) -> np.ndarray:
    """A tensor of a PyTorch state dict."""
    if name.endswith(".num_batches_tracked"):
        return np.zeros((), np.int64)
    return random_tensor(kind_of(name), name, tuple(shape), SEED)


def keras_tensor(name: str, shape: Iterable[int]) -> NDArray[np.float32]:
    """A variable of a Keras model, by `<layer>/<variable>`."""
    kind, (*window, channels, filters) = _KERAS_KINDS[name.rpartition("/")[2]], [1, *shape]
    if kind != "kernel":
        return random_tensor(kind, name, tuple(shape), SEED)
    if len(window) == 1:
        return random_tensor(kind, name, (filters, channels), SEED).T  # (F, C) to (C, F)
    kernel = random_tensor(kind, name, (filters, channels, *window[1:]), SEED)
    return kernel.transpose(2, 3, 1, 0)  # (F, C, H, W) to (H, W, C, F)


def sample(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """`SAMPLES` values of an array at places that depend on the seed and `name`."""
    places = np.floor((uniform(f"places/{name}", (SAMPLES,), SEED).astype(np.float64) + 1) / 2 * values.size)
    return values.reshape(-1)[places.astype(np.int64)]


def write(path: Path, activations: Mapping[str, np.ndarray], **notes: Any) -> None:
    """Write down each activation, (N, C, H, W) or (N, C), by shape, samples, mean and standard deviation."""
    arrays = {}
    for cut, values in activations.items():
        arrays[f"{cut}.shape"] = np.asarray(values.shape)
        arrays[f"{cut}.samples"] = sample(cut, values).astype(np.float32)
        arrays[f"{cut}.moments"] = np.asarray([values.mean(), values.std()])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, notes=np.asarray(json.dumps(notes)), **arrays)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


def photographs() -> dict[str, NDArray[np.uint8]]:
    """Photographs of scikit-image, uint8 (H, W, 3), whole and cut to sides that do not divide well."""
    from skimage import data

    chelsea, coffee, rocket = data.chelsea(), data.coffee(), data.rocket()
    return {
        "chelsea": chelsea,  # 300 x 451: hardly larger than the target
        "coffee": coffee,  # 400 x 600
        "portrait": np.ascontiguousarray(coffee.transpose(1, 0, 2)[:517, :383]),
        "small": np.ascontiguousarray(chelsea[40:163, 100:177]),  # 123 x 77: to be enlarged
        "strip": np.ascontiguousarray(rocket[100:207]),  # 107 x 640
        "square": np.ascontiguousarray(rocket[:341, :341]),
    }
