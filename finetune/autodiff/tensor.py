"""Tensors: what flows between operations, with Python's operators."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from finetune.autodiff.current import current_graph
from finetune.autodiff.indexing import WHOLE, read_key
from finetune.autodiff.shapes import Shape, normal_axes, show
from models.errors import GradientError, GraphError, ShapeError

if TYPE_CHECKING:
    from finetune.autodiff.graph import Graph, Operation

Array = NDArray[Any]
TensorLike = Any  # a Tensor, a number, or anything that numpy makes an array of


class Tensor:
    """An output of an operation. Holds no numbers: a `Session` computes them.

    Operators build operations: `+ - * / ** @`, `-x`, `< <= > >=`, slicing. `==` compares identity, so that tensors
    can be keys of feeds; `equal` compares values.
    """

    __array_ufunc__ = None  # numpy leaves `array + tensor` to __radd__

    def __init__(self, op: Operation, index: int, shape: Shape, dtype: np.dtype[Any]) -> None:
        self.op, self.index, self.shape, self.dtype = op, index, shape, dtype

    @property
    def graph(self) -> Graph:
        """The graph that holds this tensor."""
        return self.op.graph

    @property
    def name(self) -> str:
        """The operation's name, with `:1`, `:2`, ... for its further outputs."""
        return self.op.name if self.index == 0 else f"{self.op.name}:{self.index}"

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def is_real(self) -> bool:
        """Whether it holds real numbers, so that it can have a gradient."""
        return self.dtype.kind == "f"

    def __repr__(self) -> str:
        return f"<Tensor {self.name} {show(self.shape)} {self.dtype}>"

    def __bool__(self) -> NoReturn:
        raise GraphError(
            f"{self.name} has no value while the graph is built; use where(...), or run it first."
        )

    def __iter__(self) -> NoReturn:
        raise GraphError(f"{self.name} cannot be iterated over; use split(...) or index it.")

    def __add__(self, other: TensorLike) -> Tensor:
        return apply("add", [self, other])

    def __radd__(self, other: TensorLike) -> Tensor:
        return apply("add", [other, self])

    def __sub__(self, other: TensorLike) -> Tensor:
        return apply("subtract", [self, other])

    def __rsub__(self, other: TensorLike) -> Tensor:
        return apply("subtract", [other, self])

    def __mul__(self, other: TensorLike) -> Tensor:
        return apply("multiply", [self, other])

    def __rmul__(self, other: TensorLike) -> Tensor:
        return apply("multiply", [other, self])

    def __truediv__(self, other: TensorLike) -> Tensor:
        return apply("divide", [self, other])

    def __rtruediv__(self, other: TensorLike) -> Tensor:
        return apply("divide", [other, self])

    def __pow__(self, other: TensorLike) -> Tensor:
        return apply("power", [self, other])

    def __rpow__(self, other: TensorLike) -> Tensor:
        return apply("power", [other, self])

    def __matmul__(self, other: TensorLike) -> Tensor:
        return apply("matmul", [self, other])

    def __rmatmul__(self, other: TensorLike) -> Tensor:
        return apply("matmul", [other, self])

    def __neg__(self) -> Tensor:
        return apply("negative", [self])

    def __abs__(self) -> Tensor:
        return apply("abs", [self])

    def __lt__(self, other: TensorLike) -> Tensor:
        return apply("less", [self, other])

    def __le__(self, other: TensorLike) -> Tensor:
        return apply("less_equal", [self, other])

    def __gt__(self, other: TensorLike) -> Tensor:
        return apply("greater", [self, other])

    def __ge__(self, other: TensorLike) -> Tensor:
        return apply("greater_equal", [self, other])

    def __getitem__(self, key: Any) -> Tensor:
        """`x[key]`: whole numbers, slices, `...` and None (a new axis), as in NumPy.

        Raises:
            GraphError: something else in the brackets.
            ShapeError: too many of them, or a number outside of its axis.
        """
        bounds, dropped, added = read_key(self.name, self.shape, key)
        x = self
        if any(axis != WHOLE for axis in bounds):
            x = apply("slice", [x], bounds=bounds)
        if dropped:
            x = apply("squeeze", [x], axes=dropped)
        return apply("unsqueeze", [x], axes=added) if added else x

    def sum(self, axes: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """Sum over `axes`, all of them by default."""
        return apply("sum", [self], axes=normal_axes("sum", axes, self.rank), keepdims=keepdims)

    def mean(self, axes: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """Mean over `axes`, all of them by default."""
        return apply("mean", [self], axes=normal_axes("mean", axes, self.rank), keepdims=keepdims)

    def reshape(self, *shape: int) -> Tensor:
        """The same elements in another shape; one size may be -1."""
        return apply("reshape", [self], shape=shape)

    @property
    def T(self) -> Tensor:  # noqa: N802 (numpy's name)
        """The axes in reverse order."""
        return apply("transpose", [self], order=tuple(reversed(range(self.rank))))


class Variable(Tensor):
    """A tensor that keeps its value between runs, on the device of the session."""

    initial: Array | Callable[..., Array]
    trainable: bool
    like: Variable | None
    sizes: tuple[int, ...]

    @classmethod
    def create(
        cls,
        graph: Graph,
        initial: Array | Callable[..., Array],
        name: str,
        trainable: bool,
        shape: tuple[int, ...] | None = None,
        dtype: np.dtype[Any] | None = None,
        like: Variable | None = None,
    ) -> Variable:
        """Add a variable to `graph`; `Graph.variable` is the public way.

        Raises:
            GradientError: an integer variable that is to be trained.
        """
        if not callable(initial):
            shape, dtype = initial.shape, initial.dtype
        assert shape is not None
        assert dtype is not None
        if trainable and dtype.kind != "f":
            raise GradientError(
                f"variable {name} holds {dtype} and cannot be trained: integers have no gradient. "
                "Give it real numbers, or pass trainable=False."
            )
        op = graph.create("variable", (), {"shape": shape, "dtype": dtype}, name)
        self = cls(op, 0, shape, dtype)
        self.initial, self.trainable, self.like, self.sizes = initial, trainable, like, shape
        op.outputs = (self,)
        graph.variables.append(self)
        return self

    def assign(self, value: TensorLike, name: str | None = None) -> Tensor:
        """Give the variable a new value when the result is fetched; the result is that value.

        Whatever reads the variable in the same run sees the old value.

        Raises:
            ShapeError: the value has another shape or dtype.
        """
        value = as_tensor(value, self)
        if value.shape != self.shape or value.dtype != self.dtype:
            raise ShapeError(
                f"{self.name} is {show(self.shape)} {self.dtype}; it cannot be assigned {value.name}, which is "
                f"{show(value.shape)} {value.dtype}."
            )
        self.graph.assigned.add(self)
        return apply(
            "assign", [value], variable=self, name=name or f"{self.op.name.rpartition('/')[2]}_assign"
        )


def as_tensor(value: TensorLike, like: Tensor | None = None) -> Tensor:
    """`value` as a tensor. Numbers take the dtype of `like`; arrays of real numbers that of the graph."""
    if isinstance(value, Tensor):
        return value
    graph = like.graph if like is not None else current_graph()
    if isinstance(value, builtins.bool | int | float) and like is not None:
        if isinstance(value, float) and not like.is_real:
            raise GraphError(f"{value} is a real number and {like.name} holds {like.dtype}; cast it first.")
        return graph.constant(value, like.dtype)
    return graph.constant(value)


def create(op_type: str, inputs: Sequence[TensorLike], name: str | None = None, **attrs: Any) -> Operation:
    """Add an operation to the graph of its inputs. Numbers and arrays among these become constants.

    Raises:
        ShapeError: the inputs do not fit the operation.
        GraphError: no such operation, or inputs of two graphs.
    """
    like = next((value for value in inputs if isinstance(value, Tensor)), None)
    tensors = [as_tensor(value, like) for value in inputs]
    graph = tensors[0].graph if tensors else current_graph()
    return graph.create(op_type, tensors, attrs, name)


def apply(op_type: str, inputs: Sequence[TensorLike], name: str | None = None, **attrs: Any) -> Tensor:
    """`create` for an operation with one output: returns that."""
    return create(op_type, inputs, name, **attrs).output
