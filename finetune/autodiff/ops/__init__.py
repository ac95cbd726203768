"""The operations of the graph, one family in a module. Importing it fills the registry."""

from __future__ import annotations

from finetune.autodiff.ops import activations, elementwise, matmul, reductions, shape, slicing, softmax, state

FAMILIES = (activations, elementwise, matmul, reductions, shape, slicing, softmax, state)
