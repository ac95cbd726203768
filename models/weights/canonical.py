"""The one form in which weights travel here: tensors under torchvision's names, in PyTorch's layout.

<layer>.conv.weight                              (filters, channels, height, width)
<layer>.bn.weight, .bias                         (filters,): scale and shift
<layer>.bn.running_mean, .running_var            (filters,)
<layer>.weight, .bias                            (filters, channels) and (filters,) of a dense layer
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.architectures.blueprint import Blueprint
from models.errors import WeightsError
from models.wording import listed

Weights = dict[str, NDArray[np.float32]]

# In published files, and deliberately not read: InceptionV3's second classifier, which only training uses, and the
# count of training batches that PyTorch's batch norm keeps.
IGNORED_PREFIX = "AuxLogits."
IGNORED_SUFFIX = ".num_batches_tracked"


def expected_shapes(blueprint: Blueprint) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a network needs, in the order of its layers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in blueprint.layers:
        channels = blueprint.shape(layer.inputs[0])[0]
        if layer.op == "conv":
            shapes[f"{layer.name}.conv.weight"] = (layer.filters, channels, *layer.kernel)
            for part in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{layer.name}.bn.{part}"] = (layer.filters,)
        elif layer.op == "dense":
            shapes[f"{layer.name}.weight"] = (layer.filters, channels)
            shapes[f"{layer.name}.bias"] = (layer.filters,)
    return shapes


def check(blueprint: Blueprint, weights: Mapping[str, np.ndarray]) -> Weights:
    """The tensors that `blueprint` needs, as float32.

    Raises:
        WeightsError: a tensor is missing, left over, of the wrong shape or type, or not finite.
    """
    expected = expected_shapes(blueprint)
    missing = [name for name in expected if name not in weights]
    extra = [
        name
        for name in weights
        if name not in expected and not name.startswith(IGNORED_PREFIX) and not name.endswith(IGNORED_SUFFIX)
    ]
    if missing:
        name = missing[0]
        raise WeightsError(
            f"the weights lack {listed(missing, 1)}; expected {name} of shape {expected[name]}. "
            + (f"They hold {listed(extra, 1)} instead. " if extra else "")
            + "Give the weights of this architecture."
        )
    if extra:
        shape = tuple(weights[extra[0]].shape)
        raise WeightsError(
            f"the weights hold {listed(extra, 1)}, which this architecture does not have "
            f"({extra[0]} has shape {shape}; expected no such tensor). Give the weights of this architecture."
        )
    return {name: _checked(name, weights[name], shape) for name, shape in expected.items()}


def _checked(name: str, tensor: np.ndarray, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if tensor.shape != shape:
        raise WeightsError(
            f"{name} has shape {tuple(tensor.shape)}; expected {shape}. Give the weights of this architecture, "
            "with as many classes as the model has."
        )
    if tensor.dtype.kind != "f":
        raise WeightsError(
            f"{name} is {tensor.dtype}; expected floating-point numbers. Give unquantised weights."
        )
    with np.errstate(over="ignore"):  # a float64 too large for float32 becomes infinite, and is refused below
        values = tensor.astype(np.float32)
    if not np.isfinite(values).all():
        raise WeightsError(
            f"{name} holds NaN or infinity; expected finite numbers. The file is damaged or its training diverged."
        )
    if name.endswith(".running_var") and (values < 0).any():
        raise WeightsError(f"{name} holds negative variances; expected 0 or more. The file is damaged.")
    return values
