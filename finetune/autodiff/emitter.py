"""Writes ONNX nodes for operations and keeps track of the order in which tensors have their axes in memory.

A tensor has axes in the order in which the program sees them (images are N, C, H, W). In memory they may stand in
another order: `order` (0, 2, 3, 1) is N, H, W, C. A lowering that does better in some order binds its result in
it; operations that do not care (`permute` in the registry) carry on in the order they find; a Transpose is
written only where somebody asks for another order, once for each tensor. So transposes between neighbours cancel
without being searched for, and `transpose` itself costs nothing.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from finetune.autodiff import registry
from finetune.autodiff.graph import Graph, Operation
from finetune.autodiff.tensor import Tensor

Array = NDArray[Any]
Order = tuple[int, ...]
Lowering = Callable[["Emitter", Operation], bool]

_lowerings: dict[tuple[str, str | None], Lowering] = {}


def register_lowering(op_type: str, target: str | None = None) -> Callable[[Lowering], Lowering]:
    """Decorator: another way to write an operation, on `target` ("cpu", "cuda") or, with None, everywhere.

    The function reads the inputs itself, in any order (`emit.read`), binds the outputs (`emit.bind`) and returns
    True; or it returns False, having written nothing, and the registry's plain way is taken.
    """

    def keep(lowering: Lowering) -> Lowering:
        _lowerings[op_type, target] = lowering
        return lowering

    return keep


class Emitter:
    """The ONNX nodes of one compiled set of fetches.

    `target`: "cpu" or "cuda" picks the lowerings for that device, "plain" only what runs everywhere. `training`:
    whether dropout drops and batch norm looks at the batch. `memo`: for lowerings that share a node with others.
    """

    def __init__(self, graph: Graph, target: str, training: bool) -> None:
        self.graph, self.target, self.training = graph, target, training
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.owners: dict[str, str] = {}  # ONNX node -> operation
        self.effects: list[tuple[Operation, str, Any, int]] = []  # as given to `effect`
        self.needs_batch = False  # whether a node is there that onnxruntime cannot run on an empty batch
        self.uses: Counter[Tensor] = Counter()  # how often tensors are read or fetched
        self.frozen: set[Tensor] = set()  # variables that are initializers of the model
        self.memo: dict[Any, Any] = {}
        self._bound: dict[Tensor, dict[Order, str]] = {}
        self._order: dict[Tensor, Order] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._taken: set[str] = set()
        self._op = ""

    def lower(self, op: Operation) -> None:
        """Write the nodes of `op`, whose inputs are bound."""
        self._op = op.name
        for target in (self.target, None):
            special = _lowerings.get((op.type, target))
            if special is not None and special(self, op):
                return
        definition = registry.get(op.type)
        order = self._prevailing_order(op) if definition.permute else None
        permuted = definition.permute(op, order) if definition.permute and order else None
        if order is None or permuted is None:
            result = definition.lower(self, op, *(self.read(t) for t in op.inputs))
            orders = [tuple(range(t.rank)) for t in op.outputs]
        else:
            view = copy.copy(op)
            view.attrs = permuted.attrs
            rank = len(order)
            result = definition.lower(self, view, *(self.read_stretched(t, order, rank) for t in op.inputs))
            orders = [permuted.order] * len(op.outputs)
        for tensor, name, place in zip(
            op.outputs, [result] if isinstance(result, str) else result, orders, strict=True
        ):
            self.bind(tensor, name, place)

    def _prevailing_order(self, op: Operation) -> Order | None:
        """The order other than the plain one in which the largest input stands, if any does."""
        rank = max((t.rank for t in op.inputs), default=0)
        full = sorted((t for t in op.inputs if t.rank == rank), key=lambda t: t.shape.count(1))
        orders = (self._order[t] for t in full)
        return next((order for order in orders if order != tuple(range(rank))), None)

    def bind(self, tensor: Tensor, name: str, order: Order | None = None) -> None:
        """Say that the ONNX tensor `name` holds `tensor`, its axes in `order`."""
        order = order or tuple(range(tensor.rank))
        self._bound.setdefault(tensor, {})[order] = name
        self._order.setdefault(tensor, order)

    def order(self, tensor: Tensor) -> Order:
        """The order in which `tensor` was bound first."""
        return self._order[tensor]

    def read(self, tensor: Tensor, order: Order | None = None) -> str:
        """Name of the ONNX tensor that holds `tensor` in `order` (None: as the program sees it)."""
        order = order or tuple(range(tensor.rank))
        places = self._bound[tensor]
        if order not in places:
            have = self._order[tensor]
            swap = [have.index(axis) for axis in order]
            places[order] = self.node("Transpose", [places[have]], perm=swap)
        return places[order]

    def read_stretched(self, tensor: Tensor, order: Order, rank: int) -> str:
        """Like `read`, for a tensor that may have fewer axes than `order` and is stretched to fit."""
        missing = rank - tensor.rank
        if tensor.rank == 0 or not missing:
            return self.read(tensor, order if tensor.rank else None)
        key = ("stretched", tensor, order)
        if key not in self.memo:
            wide = self.node("Unsqueeze", [self.read(tensor), self.constant(np.arange(missing))])
            self.memo[key] = self.node("Transpose", [wide], perm=list(order))
        return str(self.memo[key])

    def node(self, op_type: str, inputs: Sequence[str], **attrs: Any) -> str:
        """Write a node with one output and return its name."""
        return self.nodes_of(op_type, inputs, 1, **attrs)[0]

    def nodes_of(self, op_type: str, inputs: Sequence[str], outputs: int, **attrs: Any) -> list[str]:
        """Write a node with several outputs and return their names."""
        name = self.unique(f"{self._op}/{op_type}")
        results = [name if i == 0 else f"{name}:{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op_type, list(inputs), results, name=name, **attrs))
        self.owners[name] = self._op
        return results

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Name of an initializer that holds `value`; one for all equal small ones. Ints are int64."""
        array = np.ascontiguousarray(value, dtype).reshape(np.shape(value))
        key = (
            array.dtype.str,
            array.shape,
            array.tobytes() if array.nbytes <= 4096 else id(value).to_bytes(8, "big"),
        )
        if key not in self._constants:
            name = self.unique(f"constant/{len(self._constants)}")
            self.initializers.append(numpy_helper.from_array(array, name))
            self.memo["keep", name] = value  # its id is in use
            self._constants[key] = name
        return self._constants[key]

    def real(self, value: Any) -> str:
        """Name of an initializer of the graph's dtype."""
        return self.constant(value, self.graph.dtype)

    def effect(self, op: Operation, name: str, dtype: Any, rank: int) -> None:
        """Have the session look at the ONNX tensor `name`, of `dtype` and `rank`, after each run."""
        self.effects.append((op, name, dtype, rank))

    def unique(self, name: str) -> str:
        """`name`, or `name_1`, `name_2`, ... when it is taken."""
        free, number = name, 0
        while free in self._taken:
            number += 1
            free = f"{name}_{number}"
        self._taken.add(free)
        return free
