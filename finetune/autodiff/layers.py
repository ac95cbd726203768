"""Layers: operations with variables of their own, in a name scope of their own."""

from __future__ import annotations

from collections.abc import Callable

from finetune.autodiff.initializers import Initializer, xavier_uniform, zeros
from finetune.autodiff.shapes import known
from finetune.autodiff.tensor import Tensor

Activation = Callable[[Tensor], Tensor]


def dense(
    x: Tensor,
    units: int,
    activation: Activation | None = None,
    *,
    bias: bool = True,
    initializer: Initializer = xavier_uniform,
    name: str = "dense",
) -> Tensor:
    """(N, features) -> (N, units): activation(x @ weights + bias)."""
    (features,) = known(name, x.shape[1:])
    with x.graph.name_scope(name):
        y = x @ x.graph.variable(initializer, (features, units), name="weights")
        if bias:
            y = y + x.graph.variable(zeros, (units,), name="bias")
        return activation(y) if activation else y
