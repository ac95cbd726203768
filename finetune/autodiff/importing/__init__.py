"""Pretrained networks: the top of an ONNX file becomes part of the graph, with its weights as variables."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from finetune.autodiff.current import current_graph
from finetune.autodiff.graph import Graph
from finetune.autodiff.importing.node import Node
from finetune.autodiff.importing.rules import RULES
from finetune.autodiff.importing.source import Source, read_source
from finetune.autodiff.tensor import Tensor, Variable
from models.errors import GraphError, ModelError
from models.names import LOGITS

__all__ = ["RULES", "Imported", "import_onnx"]

Array = NDArray[Any]
Trainable = bool | Sequence[str] | Callable[[str], bool]


@dataclass(frozen=True)
class Imported:
    """The part of a network that has become part of the graph. All names are those of the file.

    `input`: the placeholder in place of the cut. `tensors`: everything imported, cut points included. `variables`:
    the weights.
    """

    input: Tensor
    tensors: Mapping[str, Tensor]
    variables: Mapping[str, Variable]
    outputs: Mapping[str, Tensor]

    @property
    def logits(self) -> Tensor:
        """What enters the final softmax: the tensor `logits`, or else the input of the first output.

        Raises:
            GraphError: the part has no classes at its end.
        """
        if LOGITS in self.tensors:
            return self.tensors[LOGITS]
        last = next(iter(self.outputs.values()))
        if last.rank != 2:
            raise GraphError(
                f"{', '.join(self.outputs)}: no logits there; expected (N, classes), got {last!r}."
            )
        end = last  # conversion of old opsets puts softmax between reshapes
        while end.op.type in ("identity", "reshape") and end.op.inputs[0].shape == last.shape:
            end = end.op.inputs[0]
        return end.op.inputs[0] if end.op.type in ("softmax", "log_softmax") else last


def import_onnx(
    model: ModelProto | str | Path,
    from_cut: str | None = None,
    *,
    outputs: Sequence[str] | None = None,
    trainable: Trainable = True,
    graph: Graph | None = None,
    name: str | None = None,
) -> Imported:
    """Make the part of a network between the tensor `from_cut` and its `outputs` part of the graph.

    `from_cut`: by default the network's input. `outputs`: names of tensors, by default the network's outputs.
    `trainable`: which weights are trained: all, none, those whose names begin with one of the given names, or those
    for which a function says so. The others are frozen: models carry them inside. Statistics of batch norm are
    always frozen, and so are numbers in front of the first layer, which are preprocessing. Dropout drops in
    training runs. Half precision becomes the graph's dtype. `name`: a name scope for all of it.

    Raises:
        GraphError: an operator without a rule, or `trainable` names no weight.
        CutError: no such tensor, or the outputs depend on more than the cut.
        ModelError: not an ONNX model, or one whose shapes are not known.
    """
    graph = graph or current_graph()
    source = read_source(model, from_cut, outputs)
    with graph.name_scope(name) if name else nullcontext():
        return _Importer(graph, source, trainable).run()


class _Importer:
    def __init__(self, graph: Graph, source: Source, trainable: Trainable) -> None:
        self.graph, self.source = graph, source
        self.tensors: dict[str, Tensor] = {}
        self.variables: dict[str, Variable] = {}
        weights, frozen = self._weights()
        self.is_trained = _chooser(trainable, [name for name in weights if name not in frozen])
        for weight in weights:
            self.tensors[weight] = self.variables[weight] = graph.variable(
                source.constants[weight],
                name=_scoped(weight),
                trainable=weight not in frozen and self.is_trained(weight),
            )

    def run(self) -> Imported:
        source = self.source
        cut = self.tensors[source.cut] = self._placeholder()
        for proto in source.nodes:
            self._build(proto)
        outputs = {name: self.tensors[name] for name in source.outputs}
        return Imported(cut, self.tensors, self.variables, outputs)

    def _weights(self) -> tuple[list[str], set[str]]:
        """Names of the constants that become variables, in the order of the network, and those never trained."""
        learned: dict[str, None] = {}
        frozen: set[str] = set()
        for node in self.source.nodes:
            rule = RULES[node.op_type]
            deep = rule.layer or not self.source.behind_layers.isdisjoint(node.input)
            for i, name in enumerate(node.input):
                value = self.source.constants.get(name)
                if value is None or value.dtype.kind != "f" or i not in (*rule.weights, *rule.frozen):
                    continue
                if deep and (rule.layer or value.size > 1):
                    learned[name] = None
                    if i in rule.frozen:
                        frozen.add(name)
        return list(learned), frozen

    def _placeholder(self) -> Tensor:
        name, shape = self.source.cut, self.source.shape(self.source.cut)
        if shape is None:
            raise ModelError(
                f"the shape of {name!r} is not known; run onnx's shape inference, or cut elsewhere."
            )
        kind = np.dtype(helper.tensor_dtype_to_np_dtype(self.source.infos[name].type.tensor_type.elem_type))
        dtype = self.graph.dtype if kind.kind == "f" else kind
        return self.graph.placeholder((None, *shape[1:]), dtype, name=_scoped(name))

    def _build(self, proto: NodeProto) -> None:
        rule = RULES[proto.op_type]
        shape = self.source.shapes.get(proto.output[0])
        rows = self.tensors[self.source.cut] if self.source.cut_has_rows else None
        node = Node.of(proto, self.source.batch, shape, rows)
        optional = rule.sized and shape is not None
        try:
            with self.graph.name_scope(_scoped(node.name)):
                inputs = [self._input(name, i in rule.static, optional) for i, name in enumerate(proto.input)]
                result = rule.build(node, *inputs)
        except GraphError as exc:
            raise type(exc)(f"importing {node}: {exc}") from exc
        results = [result] if isinstance(result, Tensor) else result
        self.tensors.update(zip(proto.output, results, strict=False))  # further outputs are for training

    def _input(self, name: str, static: bool, optional: bool) -> Tensor | Array | None:
        if not name or (static and optional and name not in self.source.constants):
            return None
        if static:
            if name not in self.source.constants:
                raise GraphError(f"{name!r} is known only when the network runs; export it with fixed sizes.")
            return self.source.constants[name]
        if name not in self.tensors:
            self.tensors[name] = self.graph.constant(self.source.constants[name])
        return self.tensors[name]


def _scoped(name: str) -> str:
    """A name of the file as a name of the graph, in which scopes are separated by slashes."""
    return name.replace(".", "/").strip("/ ") or "unnamed"


def _chooser(trainable: Trainable, weights: Sequence[str]) -> Callable[[str], bool]:
    """Says of a weight whether it is trained.

    Raises:
        GraphError: a name that fits no weight.
    """
    if isinstance(trainable, bool):
        return lambda weight: trainable
    if callable(trainable):
        return trainable
    prefixes = [trainable] if isinstance(trainable, str) else list(trainable)
    for prefix in prefixes:
        if not any(_begins_with(weight, prefix) for weight in weights):
            close = difflib.get_close_matches(prefix, weights, 3, 0.3)
            raise GraphError(
                f"trainable: no weight of this part is called {prefix!r} or begins so. Weights are named like "
                f"{', '.join(close or weights[:3])}."
            )
    return lambda weight: any(_begins_with(weight, prefix) for prefix in prefixes)


def _begins_with(weight: str, prefix: str) -> bool:
    """Whether a name is the prefix or goes on with a separator: `mixed_1` begins no `mixed_10.weight`.

    Cut points and the layers in front of them are spelt alike but for capitals.
    """
    rest = weight[len(prefix) :]
    return weight.casefold().startswith(prefix.casefold()) and not rest[:1].isalnum()
