"""The graph: operations, the tensors between them, and names for both.

A program builds operations, nothing is computed until a `Session` runs the graph. Operations stand in the order
in which they were made, which is an order in which they can run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

from finetune.autodiff import registry
from finetune.autodiff.current import current_graph, innermost
from finetune.autodiff.shapes import show
from finetune.autodiff.tensor import Tensor, Variable
from models.errors import GraphError, ShapeError

Array = NDArray[Any]


class Operation:
    """One node of the graph: `type` names its entry in the registry; `attrs` are its fixed parameters."""

    def __init__(
        self, graph: Graph, op_type: str, name: str, inputs: tuple[Tensor, ...], attrs: dict[str, Any]
    ) -> None:
        self.graph, self.type, self.name, self.inputs, self.attrs = graph, op_type, name, inputs, attrs
        self.outputs: tuple[Tensor, ...] = ()

    @property
    def output(self) -> Tensor:
        """The only output, or the first."""
        return self.outputs[0]

    def __repr__(self) -> str:
        made_of = ", ".join(t.name for t in self.inputs)
        return f"<{self.type} {self.name}({made_of}) -> {', '.join(show(t.shape) for t in self.outputs)}>"


class Graph:
    """Operations and the tensors between them.

    `dtype`: of every real number in the graph, float32 or float64. `seed`: together with an operation's or a
    variable's name it decides all randomness. `with graph:` makes it the graph to which new operations go.
    """

    def __init__(self, dtype: DTypeLike = np.float32, seed: int = 0) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        if self.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise GraphError(f"a graph computes in float32 or float64, not in {self.dtype}.")
        self.seed = seed
        self.variables: list[Variable] = []
        # Assignments that go with a training step through the operation.
        self.updates: list[tuple[Tensor, Operation]] = []
        self.assigned: set[Variable] = set()  # variables that some operation changes
        # int64 (N,): where the rows of a batch stand in a larger one of which runs see parts; to be set before
        # anything random is made.
        self.rows: Tensor | None = None
        self._operations: list[Operation] = []
        self._names: set[str] = set()
        self._scope = ""
        self._scalars: dict[tuple[str, bytes], Tensor] = {}
        self._step: Variable | None = None
        self._tokens: list[Any] = []

    def __enter__(self) -> Graph:
        self._tokens.append(innermost.set(self))
        return self

    def __exit__(self, *_: object) -> None:
        innermost.reset(self._tokens.pop())

    def __repr__(self) -> str:
        return f"<Graph of {len(self._operations)} operations, {len(self.variables)} variables, {self.dtype}>"

    def operations(self) -> list[Operation]:
        """All operations, in an order in which they can run."""
        return list(self._operations)

    def operation(self, name: str) -> Operation:
        """The operation called `name`.

        Raises:
            GraphError: there is none.
        """
        for op in self._operations:
            if op.name == name:
                return op
        raise GraphError(
            f"no operation is called {name!r}; graph.operations() lists all {len(self._operations)}."
        )

    @property
    def trainable_variables(self) -> list[Variable]:
        """The variables that optimizers change unless told otherwise."""
        return [variable for variable in self.variables if variable.trainable]

    @property
    def step(self) -> Variable:
        """The number of training steps done, an int64 scalar; made when first asked for."""
        if self._step is None:
            with self.root_scope():
                self._step = Variable.create(self, np.zeros((), np.int64), "global_step", trainable=False)
        return self._step

    @property
    def step_if_any(self) -> Variable | None:
        """`step` where something has asked for it."""
        return self._step

    @contextmanager
    def name_scope(self, name: str) -> Iterator[str]:
        """Put `name/` before the names of what is made inside; a second scope of one name becomes `name_1`."""
        outer = self._scope
        self._scope = self.unique_name(name) + "/"
        try:
            yield self._scope
        finally:
            self._scope = outer

    @contextmanager
    def root_scope(self) -> Iterator[None]:
        """Leave all name scopes for what is made inside."""
        outer, self._scope = self._scope, ""
        try:
            yield
        finally:
            self._scope = outer

    def unique_name(self, name: str) -> str:
        """`name` within the current scope, with `_1`, `_2`, ... behind it when it is taken; it is taken from now.

        Raises:
            GraphError: an empty name.
        """
        if not name or name != name.strip("/ "):
            raise GraphError(
                f"{name!r} is not a name; expected letters, digits, _ and - without / at the ends."
            )
        full, number = self._scope + name, 0
        while full in self._names:
            number += 1
            full = f"{self._scope}{name}_{number}"
        self._names.add(full)
        return full

    def device(self, name: str) -> NoReturn:
        """Refused: operations are not placed one by one.

        Raises:
            GraphError: always, with the reason.
        """
        raise GraphError(
            f"graph.device({name!r}): one onnxruntime session runs the whole graph and copies nothing between "
            f"devices inside a step, so the device belongs to the session: Session(graph, device={name!r})."
        )

    def create(
        self,
        op_type: str,
        inputs: Sequence[Tensor],
        attrs: dict[str, Any] | None = None,
        name: str | None = None,
    ) -> Operation:
        """Add an operation; its shapes are inferred and checked.

        Raises:
            ShapeError: the inputs do not fit the operation.
            GraphError: no such operation, or an input of another graph.
        """
        definition = registry.get(op_type)
        for tensor in inputs:
            if tensor.graph is not self:
                raise GraphError(
                    f"{op_type}: {tensor.name} belongs to another Graph. Build everything that is used together "
                    "in one graph."
                )
        op = Operation(self, op_type, self._scope + (name or op_type), tuple(inputs), dict(attrs or {}))
        specs = definition.shape(op)  # before the name is taken: a refused operation leaves no trace
        op.name = self.unique_name(name or op_type)
        op.outputs = tuple(Tensor(op, i, spec.shape, spec.dtype) for i, spec in enumerate(specs))
        self._operations.append(op)
        return op

    def constant(self, value: Any, dtype: DTypeLike | None = None, name: str | None = None) -> Tensor:
        """A tensor that never changes. Real numbers take the graph's dtype; others keep theirs."""
        array = np.array(value, dtype)  # a copy: the caller's array may change later
        if dtype is None and array.dtype.kind == "f":
            array = array.astype(self.dtype)
        key = (array.dtype.str, array.tobytes()) if array.ndim == 0 and name is None else None
        if key is not None and key in self._scalars:
            return self._scalars[key]
        array.setflags(write=False)
        if key is None:
            return self.create("constant", (), {"value": array}, name or "constant").output
        with self.root_scope():
            self._scalars[key] = self.create("constant", (), {"value": array}, "constant").output
        return self._scalars[key]

    def placeholder(
        self, shape: Sequence[int | None], dtype: DTypeLike | None = None, name: str = "placeholder"
    ) -> Tensor:
        """A tensor that is fed in each run. `shape[0]` None is the batch, the same for all placeholders of a run."""
        attrs = {"shape": tuple(shape), "dtype": np.dtype(dtype if dtype is not None else self.dtype)}
        return self.create("placeholder", (), attrs, name).output

    def variable(
        self,
        initial: Array | float | Callable[..., Array],
        shape: Sequence[int] | None = None,
        *,
        name: str = "variable",
        trainable: bool = True,
        dtype: DTypeLike | None = None,
        like: Variable | None = None,
    ) -> Variable:
        """A tensor that keeps its value between runs.

        `initial`: an array, a number, or an initializer (see `initializers`) together with `shape`. `like`: the
        variable beside which this one is kept, in the same layout (an optimizer's memory of a weight).

        Raises:
            GraphError: an integer variable that is to be trained, or an initializer without a shape.
        """
        if not callable(initial):
            array = np.array(initial, dtype)
            if dtype is None and array.dtype.kind == "f":
                array = array.astype(self.dtype)
            if shape is not None and array.shape != tuple(shape):
                if array.ndim:
                    raise ShapeError(
                        f"variable {name}: the initial value is {array.shape}, not {tuple(shape)}."
                    )
                # One number in memory, however large the variable.
                array = np.broadcast_to(array, tuple(shape))
            return Variable.create(self, array, name, trainable, like=like)
        if shape is None:
            raise GraphError(f"variable {name}: an initializer needs a shape; pass shape=(...).")
        wanted = np.dtype(dtype if dtype is not None else self.dtype)
        return Variable.create(self, initial, name, trainable, tuple(shape), wanted, like=like)


def placeholder(
    shape: Sequence[int | None], dtype: DTypeLike | None = None, name: str = "placeholder"
) -> Tensor:
    """A tensor of the current graph that is fed in each run; see `Graph.placeholder`."""
    return current_graph().placeholder(shape, dtype, name)


def variable(
    initial: Array | float | Callable[..., Array], shape: Sequence[int] | None = None, **how: Any
) -> Variable:
    """A tensor of the current graph that keeps its value between runs; see `Graph.variable`."""
    return current_graph().variable(initial, shape, **how)


def constant(value: Any, dtype: DTypeLike | None = None, name: str | None = None) -> Tensor:
    """A tensor of the current graph that never changes; see `Graph.constant`."""
    return current_graph().constant(value, dtype, name)
