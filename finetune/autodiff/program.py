"""Compiles what is fetched to one ONNX model: only what it depends on, in the order in which it was built."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from finetune.autodiff.emitter import Emitter, Order
from finetune.autodiff.graph import Graph, Operation
from finetune.autodiff.shapes import show
from finetune.autodiff.tensor import Tensor, Variable
from models.errors import FeedError, GraphError
from models.graph import prune
from models.opset import IR_VERSION, opset_imports

Fetch = Tensor | Operation


@dataclass(frozen=True)
class Effect:
    """A tensor to look at after each run, on behalf of an operation (assert_finite, print)."""

    op: Operation
    output: str


@dataclass(frozen=True)
class Program:
    """A compiled set of fetches: the model, and what its inputs and outputs mean.

    `outputs` has one name for each fetch, None for an operation that computes nothing to look at.
    `needs_batch`: onnxruntime cannot run it on an empty batch.
    """

    model: ModelProto
    feeds: Mapping[Tensor, str]
    reads: Mapping[Variable, str]
    updates: Mapping[Variable, str]
    outputs: Sequence[str | None]
    effects: Sequence[Effect]
    owners: Mapping[str, str]
    needs_batch: bool


def needed(fetches: Sequence[Fetch], fed: Collection[Tensor]) -> list[Operation]:
    """The operations on which `fetches` depend, up to the fed tensors, in an order in which they can run."""
    reached: set[Operation] = set()
    waiting = [f.op if isinstance(f, Tensor) else f for f in fetches if f not in fed]
    graph = waiting[0].graph if waiting else None
    while waiting:
        op = waiting.pop()
        if op not in reached:
            reached.add(op)
            waiting.extend(t.op for t in op.inputs if t not in fed)
    return [op for op in graph.operations() if op in reached] if graph else []


def updates_of(ops: Sequence[Operation]) -> dict[Variable, Tensor]:
    """Variable -> the value that `ops` assign to it.

    Raises:
        GraphError: two different values for one variable.
    """
    updates: dict[Variable, Tensor] = {}
    for op in ops:
        if op.type == "assign":
            target = op.attrs["variable"]
            if target in updates:
                raise GraphError(
                    f"{target.name} would be assigned twice in one run, by {updates[target].name} and {op.name}. "
                    "Fetch them in two runs."
                )
            updates[target] = op.output
    return updates


def storage_order(variable: Variable, target: str) -> Order:
    """The order of axes in which a session keeps `variable`: on the CPU, convolution weights as out, H, W, in."""
    while variable.like is not None:
        variable = variable.like
    uses = [op for op in variable.graph.operations() if variable in op.inputs]
    convolved = any(
        op.type == "conv2d" and op.inputs[1] is variable and op.attrs["groups"] == 1 for op in uses
    )
    if target == "cpu" and variable.trainable and convolved:
        return (0, 2, 3, 1)
    if variable.rank == 2 and any(op.type == "transpose" for op in uses):
        return (1, 0)  # as the product reads it, and as its gradient comes
    return tuple(range(variable.rank))


def compile_program(
    graph: Graph,
    fetches: Sequence[Fetch],
    fed: Collection[Tensor],
    target: str,
    training: bool,
    orders: Mapping[Variable, Order],
    frozen: Mapping[Variable, NDArray[Any]],
) -> Program:
    """Compile `fetches` given values for `fed`. `frozen`: variables whose values go into the model.

    Raises:
        FeedError: a placeholder is needed and not fed.
        GraphError: a variable is assigned twice.
    """
    ops = needed(fetches, fed)
    updates = updates_of(ops)
    emit = Emitter(graph, target, training)
    emit.uses.update(t for op in ops for t in op.inputs)
    emit.uses.update(f for f in fetches if isinstance(f, Tensor))
    inputs: list[ValueInfoProto] = []
    feeds = {tensor: emit.unique(f"feed/{tensor.name}") for tensor in fed}
    for fed_tensor, name in feeds.items():
        emit.bind(fed_tensor, name)
        inputs.append(_value_info(name, fed_tensor, range(fed_tensor.rank)))
    reads: dict[Variable, str] = {}
    unfed: dict[str, Operation] = {}
    for op in ops:
        if op.type == "placeholder":
            name = emit.unique(f"unfed/{op.name}")
            unfed[name] = op
            emit.bind(op.output, name)
            continue
        if op.type != "variable":
            emit.lower(op)
            continue
        tensor = op.output
        assert isinstance(tensor, Variable)
        if tensor in frozen:
            name = emit.unique(f"variable/{tensor.name}")
            emit.initializers.append(numpy_helper.from_array(np.ascontiguousarray(frozen[tensor]), name))
            emit.frozen.add(tensor)
            emit.bind(tensor, name)
        else:
            name = reads[tensor] = emit.unique(f"variable/{tensor.name}")
            order = orders[tensor]
            emit.bind(tensor, name, order)
            inputs.append(_value_info(name, tensor, order))

    outputs = _Outputs(emit)
    new = {v: outputs.add(f"update/{v.name}", t, orders[v]) for v, t in updates.items()}
    fetched = [outputs.add(f"fetch/{f.name}", f) if isinstance(f, Tensor) else None for f in fetches]
    effects = [
        Effect(op, outputs.add_name(f"effect/{op.name}", name, dtype, rank))
        for op, name, dtype, rank in emit.effects
    ]
    outputs.rename()
    graph_proto = helper.make_graph(emit.nodes, "autodiff", inputs, outputs.infos, emit.initializers)
    # What only the other mode, training or not, uses.
    prune(graph_proto, [info.name for info in outputs.infos])
    used = {name for node in graph_proto.node for name in node.input}
    for name, op in unfed.items():
        if name in used:
            raise FeedError(
                f"{op.name} {show(op.output.shape)} is not fed, and {_reader(op, ops, fetches)} needs it. "
                "Add it to the feeds of this run."
            )
    unused = [value for value in graph_proto.input if value.name not in used and value.name in reads.values()]
    for value in unused:
        graph_proto.input.remove(value)
    model = helper.make_model(
        graph_proto, opset_imports=opset_imports(), ir_version=IR_VERSION, producer_name="graft"
    )
    reads = {variable: name for variable, name in reads.items() if name in used}
    return Program(model, feeds, reads, new, fetched, effects, emit.owners, emit.needs_batch)


def _reader(placeholder: Operation, ops: Sequence[Operation], fetches: Sequence[Fetch]) -> str:
    direct = next((f.name for f in fetches if isinstance(f, Tensor) and f.op is placeholder), None)
    return direct or next(op.name for op in ops if placeholder.output in op.inputs)


def _value_info(name: str, tensor: Tensor, order: Sequence[int]) -> ValueInfoProto:
    """Type and shape of an input; the unknown first size of all placeholders is one and the same number."""
    batch = tensor.op.type == "placeholder"
    sizes = [
        tensor.shape[a] if tensor.shape[a] is not None else "batch" if batch and a == 0 else f"{name}_{a}"
        for a in order
    ]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(tensor.dtype), sizes)


class _Outputs:
    """The model's outputs: they get names of their own, without a copy where the tensor belongs to nobody else."""

    def __init__(self, emit: Emitter) -> None:
        self.emit = emit
        self.infos: list[ValueInfoProto] = []
        self._made = {name for node in emit.nodes for name in node.output}
        self._renamed: dict[str, str] = {}

    def add(self, wanted: str, tensor: Tensor, order: Order | None = None) -> str:
        """Make `tensor` an output; returns its name."""
        count = len(self.emit.nodes)
        name = self.emit.read(tensor, order)
        self._made.update(name for node in self.emit.nodes[count:] for name in node.output)
        return self.add_name(wanted, name, tensor.dtype, tensor.rank)

    def add_name(self, wanted: str, name: str, dtype: Any, rank: int) -> str:
        """Make the ONNX tensor `name` an output; returns its new name."""
        wanted = self.emit.unique(wanted)
        if name in self._made and name not in self._renamed:
            self._renamed[name] = wanted
        else:
            self.emit.nodes.append(helper.make_node("Identity", [name], [wanted], name=wanted))
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.infos.append(helper.make_tensor_value_info(wanted, kind, [None] * rank))
        return wanted

    def rename(self) -> None:
        """Give the tensors their new names wherever they stand."""
        for node in self.emit.nodes:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name in self._renamed:
                        names[i] = self._renamed[name]
