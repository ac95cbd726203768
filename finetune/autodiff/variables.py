"""The values of variables, on the device of the session, in two buffers each.

A step reads one buffer and writes the other: an onnxruntime value that is input and output of one run would be
corrupted, since nodes that read the variable after its update see the new value. Which buffer holds the current
value is one bit a variable; the bits of all are one number, `state`.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from finetune.autodiff.emitter import Order
from finetune.autodiff.graph import Graph
from finetune.autodiff.program import storage_order
from finetune.autodiff.tensor import Variable
from models.devices import Device
from models.errors import ShapeError

Array = NDArray[Any]


class VariableStore:
    """Values of a graph's variables. A variable gets its initial value when it is first asked for."""

    def __init__(self, graph: Graph, device: Device, target: str) -> None:
        self.graph, self.device, self.target = graph, device, target
        self.state = 0
        self.frozen_version = 0  # grows when a value changes that compiled models carry inside
        self._host: dict[Variable, Array] = {}  # frozen variables: models carry their values
        self._buffers: dict[Variable, list[onnxruntime.OrtValue]] = {}
        self._bits: dict[Variable, int] = {}
        self._orders: dict[Variable, Order] = {}

    def order(self, variable: Variable) -> Order:
        """The order of axes in which the variable is kept; it never changes."""
        if variable not in self._orders:
            self._orders[variable] = storage_order(variable, self.target)
        return self._orders[variable]

    def bit(self, variable: Variable) -> int:
        """The bit of `state` that says which buffer is current."""
        return self._bits.setdefault(variable, 1 << len(self._bits))

    def buffer(self, variable: Variable, which: int) -> onnxruntime.OrtValue:
        """Buffer 0 or 1 of a variable, with its value in it if it is the current one."""
        buffers = self._buffers.get(variable)
        if buffers is None:
            value = self._host.pop(variable) if variable in self._host else initial_value(variable)
            self._buffers[variable] = buffers = []
            self.write(variable, value)
        while len(buffers) <= which:
            buffers.append(self._allocate(variable))
        return buffers[which]

    def current(self, variable: Variable) -> int:
        """Which buffer holds the value, 0 or 1."""
        return int(self.state & self.bit(variable) != 0)

    def _allocate(self, variable: Variable) -> onnxruntime.OrtValue:
        shape = [variable.sizes[axis] for axis in self.order(variable)]
        kind = "cuda" if self.device.kind in ("cuda", "tensorrt") else "cpu"
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            shape, variable.dtype.type, kind, self.device.index
        )

    def read(self, variable: Variable) -> Array:
        """A copy of the value, its axes in the variable's own order."""
        if variable not in self._buffers:
            return self.frozen_value(variable).copy()
        stored = self.buffer(variable, self.current(variable)).numpy()
        return (
            np.ascontiguousarray(stored.transpose(np.argsort(self.order(variable))))
            .reshape(variable.sizes)
            .copy()
        )

    def write(self, variable: Variable, value: Array) -> None:
        """Set the value.

        Raises:
            ShapeError: another shape than the variable's.
        """
        value = np.asarray(value, variable.dtype)
        if value.shape != variable.sizes:
            raise ShapeError(
                f"{variable.name} is {variable.sizes}; it was given a value of shape {value.shape}."
            )
        if variable not in self._buffers:
            self._host[variable] = value.copy()
            self.frozen_version += 1
            return
        stored = np.ascontiguousarray(value.transpose(self.order(variable))).reshape(
            [variable.sizes[axis] for axis in self.order(variable)]
        )
        self.buffer(variable, self.current(variable)).update_inplace(stored)

    def frozen_value(self, variable: Variable) -> Array:
        """The value of a variable that no operation changes, to be put into a model."""
        if variable in self._buffers:
            return self.read(variable)
        if variable not in self._host:
            self._host[variable] = initial_value(variable)
        return self._host[variable]


def initial_value(variable: Variable) -> Array:
    """The value with which a variable begins: a function of the graph's seed and the variable's name."""
    if not callable(variable.initial):
        return variable.initial
    rng = np.random.default_rng([variable.graph.seed, zlib.crc32(variable.name.encode())])
    value = np.asarray(variable.initial(rng, variable.sizes), variable.dtype)
    if value.shape != variable.sizes:
        raise ShapeError(f"{variable.name} is {variable.sizes}; its initializer returned {value.shape}.")
    return value
