"""How weights begin. An initializer takes a seeded generator and a shape and returns an array.

The session seeds the generator with the graph's seed and the variable's name, so a variable begins alike however
many others there are. Shapes: (in, out) of a dense layer, (out, in, height, width) of a convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Initializer = Callable[[np.random.Generator, tuple[int, ...]], Array]

# Standard deviation of a standard normal distribution cut off at 2 standard deviations.
_CUT_DEVIATION = 0.87962566103423978


def zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """All 0."""
    return np.zeros(shape)


def ones(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """All 1."""
    return np.ones(shape)


def constant(value: float) -> Initializer:
    """All `value`."""
    return lambda rng, shape: np.full(shape, value)


def truncated_normal(deviation: float = 0.05, mean: float = 0.0) -> Initializer:
    """Normal with `deviation` before the cut; what is more than 2 deviations from the mean is drawn again."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        values = rng.standard_normal(shape)
        while (outside := np.abs(values) > 2.0).any():
            values[outside] = rng.standard_normal(int(outside.sum()))
        return values * deviation + mean

    return draw


def xavier_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Uniform within sqrt(6 / (fan in + fan out)) of 0 (Glorot and Bengio, 2010)."""
    fan_in, fan_out = fans(shape)
    limit = math.sqrt(6.0 / (fan_in + fan_out))
    return rng.uniform(-limit, limit, shape)


def xavier_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Truncated normal of variance 2 / (fan in + fan out) (Glorot and Bengio, 2010)."""
    return truncated_normal(math.sqrt(2.0 / sum(fans(shape))) / _CUT_DEVIATION)(rng, shape)


def he_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Truncated normal of variance 2 / fan in, for layers before a ReLU (He et al., 2015)."""
    return truncated_normal(math.sqrt(2.0 / fans(shape)[0]) / _CUT_DEVIATION)(rng, shape)


def he_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Uniform of variance 2 / fan in, for layers before a ReLU (He et al., 2015)."""
    limit = math.sqrt(6.0 / fans(shape)[0])
    return rng.uniform(-limit, limit, shape)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Connections into and out of a unit: of (in, out), or of (out, in, height, width)."""
    if len(shape) < 2:
        size = math.prod(shape)
        return size, size
    if len(shape) == 2:
        return shape[0], shape[1]
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window
