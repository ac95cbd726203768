"""What rules see of an ONNX node, and what a rule is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import NodeProto, helper

from finetune.autodiff.shapes import Shape
from finetune.autodiff.tensor import Tensor


@dataclass(frozen=True)
class Node:
    """An ONNX node without its inputs.

    `batch`: the size to which the file fixes the batch, None where it is free; in the graph it always is. `shape`: of
    the first output, where all of it is known but for a free batch. `rows`: a tensor with a row an image.
    """

    op_type: str
    name: str
    outputs: int
    attributes: Mapping[str, Any]
    batch: int | None = None
    shape: Shape | None = None
    rows: Tensor | None = None

    @classmethod
    def of(
        cls,
        proto: NodeProto,
        batch: int | None = None,
        shape: Shape | None = None,
        rows: Tensor | None = None,
    ) -> Node:
        """Read `proto`; strings among its attributes are decoded."""
        attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
        texts = {key: value.decode() for key, value in attributes.items() if isinstance(value, bytes)}
        name = proto.name or next(iter(proto.output), proto.op_type)
        return cls(proto.op_type, name, len(proto.output), {**attributes, **texts}, batch, shape, rows)

    def get(self, attribute: str, default: Any = None) -> Any:
        """The value of an attribute, or `default`."""
        return self.attributes.get(attribute, default)

    def __str__(self) -> str:
        return f"{self.op_type} node {self.name!r}"


@dataclass(frozen=True)
class Rule:
    """How an operator is built: `build(node, *inputs)` returns its output, or all outputs in order.

    The numbers are positions of inputs. `weights`: constants here become variables. `frozen`: they do, and are
    never trained. `static`: read while the graph is built; the rule gets arrays. `sized`: where the node's shape is
    known, the rule takes None for those that are not. `layer`: what comes behind it is part of the network proper,
    where elementwise constants are weights too.
    """

    build: Callable[..., Tensor | Sequence[Tensor]]
    weights: tuple[int, ...] = ()
    frozen: tuple[int, ...] = ()
    static: tuple[int, ...] = ()
    sized: bool = False
    layer: bool = False
