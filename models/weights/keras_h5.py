"""Reads weights that Keras wrote in its legacy HDF5 layout, as `keras.applications` publishes them.

The file lists its layers in the attribute `layer_names`; each layer's group lists its tensors in `weight_names`.
Long lists are split into `layer_names0`, `layer_names1`, ... Source: keras/src/legacy/saving/legacy_h5_format.py.

Keras numbers its layers in the order in which they are created (`conv2d`, `conv2d_1`, ...; the published file begins
at 1, a second model of one process wherever the first left off), but the file lists them by depth. So they are sorted
by number and laid over the blueprint's layers of the same kind in order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from models.architectures.blueprint import Blueprint
from models.errors import WeightsError
from models.extras import how_to_install

_NORM_PARTS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def read(path: Path, blueprint: Blueprint) -> dict[str, np.ndarray]:
    """Tensors of a Keras `.h5` file under canonical names, kernels turned into PyTorch's layout.

    Raises:
        WeightsError: h5py is missing, the file is damaged, or its layers are not those of `blueprint`.
    """
    try:
        import h5py
    except ImportError as exc:
        raise WeightsError(
            f"{path}: reading Keras weights needs h5py, which is not installed. Run: {how_to_install('keras')}."
        ) from exc
    try:
        with h5py.File(path, "r") as file:
            layers = dict(_layers(file, path, h5py))
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as exc:
        raise _damaged(path, str(exc)) from exc
    return _canonical(layers, blueprint, path)


def _layers(file: Any, path: Path, h5py: Any) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Name of each layer that has weights, with its tensors by the last part of their names."""
    root = _follow(file, "model_weights", path, h5py) if "model_weights" in file else file
    names = _names(root, "layer_names")
    if not names:
        raise WeightsError(
            f"{path}: an HDF5 file without layer_names; expected Keras' legacy layout. From Keras 3 save the model "
            "with model.save('name.h5') and give that file."
        )
    for name in names:
        group = _follow(root, name, path, h5py)
        tensors = {}
        for weight in _names(group, "weight_names"):
            part = weight.rpartition("/")[2].removesuffix(":0")
            tensors[part] = _values(_follow(group, weight, path, h5py), weight, path, h5py)
        if tensors:
            yield name, tensors


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names kept as an attribute, whole or in numbered pieces."""
    pieces = [attribute] if attribute in group.attrs else _numbered(group, attribute)
    names = [name for piece in pieces for name in np.ravel(group.attrs[piece])]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _numbered(group: Any, attribute: str) -> Iterator[str]:
    number = 0
    while f"{attribute}{number}" in group.attrs:
        yield f"{attribute}{number}"
        number += 1


def _follow(group: Any, name: str, path: Path, h5py: Any) -> Any:
    """A member of a group. Links that lead out of it, into other files even, are not followed."""
    for part in name.split("/"):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise _damaged(path, f"{name} is missing or a link")
        group = group[part]
    return group


def _values(data: Any, name: str, path: Path, h5py: Any) -> np.ndarray:
    """A data set as an array, if its bytes are really in this file."""
    if not isinstance(data, h5py.Dataset) or data.dtype.kind != "f":
        raise _damaged(path, f"{name} is not a data set of floating-point numbers")
    if data.external or data.is_virtual or data.id.get_storage_size() != data.nbytes:
        raise _damaged(path, f"{name} declares {data.nbytes} bytes and does not hold them")
    return np.asarray(data[()])


def _canonical(
    layers: dict[str, dict[str, np.ndarray]], blueprint: Blueprint, path: Path
) -> dict[str, np.ndarray]:
    by_kind: dict[str, list[dict[str, np.ndarray]]] = {"conv": [], "norm": [], "dense": []}
    for name in sorted(layers, key=_number):
        by_kind[_kind(layers[name], name, path)].append(layers[name])
    convs = [layer.name for layer in blueprint.layers if layer.op == "conv"]
    denses = [layer.name for layer in blueprint.layers if layer.op == "dense"]
    given, wanted = tuple(map(len, by_kind.values())), (len(convs), len(convs), len(denses))
    if given != wanted:
        raise WeightsError(
            f"{path}: it holds {_census(given)}; expected {_census(wanted)}. Give the weights of this architecture, "
            "with its classifier (include_top=True)."
        )
    weights: dict[str, np.ndarray] = {}
    for name, conv, norm in zip(convs, by_kind["conv"], by_kind["norm"], strict=True):
        weights[f"{name}.conv.weight"] = conv["kernel"].transpose(3, 2, 0, 1)  # (H, W, C, F) to (F, C, H, W)
        if "bias" in conv:
            weights[f"{name}.conv.bias"] = conv["bias"]
        # InceptionV3 is published without gamma (scale=False): it is 1 then.
        parts = {"gamma": np.ones_like(norm["moving_mean"]), **norm}
        weights |= {f"{name}.bn.{ours}": parts[part] for part, ours in _NORM_PARTS.items() if part in parts}
    for name, dense in zip(denses, by_kind["dense"], strict=True):
        weights[f"{name}.weight"] = dense["kernel"].T  # (C, F) to (F, C)
        if "bias" in dense:
            weights[f"{name}.bias"] = dense["bias"]
    return weights


def _number(name: str) -> int:
    match = re.search(r"_(\d+)$", name)
    return int(match[1]) if match else 0


def _kind(tensors: dict[str, np.ndarray], name: str, path: Path) -> str:
    if "moving_mean" in tensors:
        return "norm"
    dimensions = tensors["kernel"].ndim if "kernel" in tensors else 0
    if dimensions not in (2, 4):
        raise WeightsError(
            f"{path}: layer {name} holds {', '.join(sorted(tensors))}; expected a convolution, a batch norm "
            "or a dense layer. Give the weights of this architecture."
        )
    return "conv" if dimensions == 4 else "dense"


def _census(counts: tuple[int, ...]) -> str:
    convs, norms, denses = counts
    return f"{convs} convolutions, {norms} batch norms and {denses} dense layers"


def _damaged(path: Path, what: str) -> WeightsError:
    return WeightsError(f"{path}: damaged ({what}); expected a Keras .h5 file. Download it again.")
