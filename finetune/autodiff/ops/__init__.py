"""The operations of the graph, one family in a module. Importing it fills the registry."""

from __future__ import annotations

from finetune.autodiff.ops import (
    activations,
    convolution,
    convolution_cpu,
    elementwise,
    matmul,
    normalisation,
    pooling,
    reductions,
    rules,
    shape,
    slicing,
    softmax,
    state,
    training,
)

__all__ = [
    "activations",
    "convolution",
    "convolution_cpu",
    "elementwise",
    "matmul",
    "normalisation",
    "pooling",
    "reductions",
    "rules",
    "shape",
    "slicing",
    "softmax",
    "state",
    "training",
]
