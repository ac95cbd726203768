"""The slopes that every way of explaining by gradients asks for: of one tensor of a network by an earlier one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from finetune.autodiff import Graph, Session, gradients, import_onnx, placeholder
from finetune.explain.geometry import Floats
from models.errors import GraphError
from models.runtime import RuntimeConfig


class Slopes:
    """The part of a network from the tensor `begin` to the tensor `end`, and the gradient through it.

    `refusal`: a sentence that stands before the reason where the part has no gradient. `begin_shape`, `end_shape`: of
    the two tensors, None where a size is free.

    Raises:
        CutError: no such tensor.
        GraphError: an operator between the two that has no gradient.
    """

    def __init__(
        self, proto: ModelProto, begin: str, end: str, config: RuntimeConfig, *, refusal: str
    ) -> None:
        with Graph() as graph:
            try:
                part = import_onnx(proto, begin, outputs=[end], trainable=False)
                self._begin, self._end = part.input, part.outputs[end]
                self._weights = placeholder(self._end.shape, name="weights")
                self._gradient = gradients(self._end, [self._begin], [self._weights])[0]
            except GraphError as exc:
                raise type(exc)(f"{refusal} In detail: {exc}") from exc
        self.begin_shape, self.end_shape = self._begin.shape, self._end.shape
        self._session = Session(graph, config.device, threads=config.threads)

    def at(self, values: NDArray[Any], weights: NDArray[Any]) -> Floats:
        """The gradient of sum(weights * end), in the shape of the `values` that `begin` has."""
        feeds = {self._begin: np.asarray(values, np.float32), self._weights: np.asarray(weights, np.float32)}
        slopes: Floats = self._session.run(self._gradient, feeds)
        return slopes

    def end(self, values: NDArray[Any]) -> Floats:
        """The tensor `end`, where `begin` has these values."""
        end: Floats = self._session.run(self._end, {self._begin: values})
        return end
