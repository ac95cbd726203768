"""From a trained graph to a clean ONNX model: what is needed for inference, with the values inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, ValueInfoProto, helper

from finetune.autodiff.folding import fold_constants
from finetune.autodiff.graph import Graph
from finetune.autodiff.program import compile_program, needed
from finetune.autodiff.session import Session
from finetune.autodiff.tensor import Tensor, Variable
from models.errors import GraftError, GraphError
from models.folding import fold_into_layers
from models.graph import prune
from models.runtime import OnnxSession

Array = NDArray[Any]
Named = Mapping[str, Tensor] | Sequence[Tensor]
Feeds = Mapping[Tensor, Array]

# Largest difference between the exported model and the session, as a part of the largest number. A batch norm that
# was folded into a convolution rounds differently.
TOLERANCE = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-10}
BATCH = "N"


def export(
    graph: Graph,
    outputs: Named,
    *,
    session: Session | None = None,
    cuts: Mapping[str, Tensor] | None = None,
    sample: Feeds | None = None,
) -> ModelProto:
    """An inference model of `outputs`: dropout gone, batch norm with its moving statistics and inside convolutions.

    `outputs`: by the names that they get, or tensors that keep theirs. Inputs are called like the placeholders; an
    unknown first size is the batch. `session`: whose values the variables have, by default their initial ones.
    `cuts`: tensors inside that are to have these names too. `sample`: feeds with which the model is compared with
    the session; by default a batch of two random ones.

    Raises:
        GraphError: the model and the session differ, outputs change variables, or names that clash.
    """
    session = session or Session(graph, device="cpu")
    names = dict(outputs) if isinstance(outputs, Mapping) else {tensor.name: tensor for tensor in outputs}
    inner = {name: tensor for name, tensor in (cuts or {}).items() if name not in names}
    placeholders = _placeholders(names)
    model = _compile(session, {**names, **inner}, placeholders)
    fold_constants(model)
    fold_into_layers(model.graph)
    for value in list(model.graph.output):
        if value.name in inner:
            model.graph.output.remove(value)
            model.graph.value_info.append(value)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as exc:  # its own exceptions have no common base
        raise GraphError(f"the exported model is not sound ({exc}). Please report the graph.") from exc
    _compare(model, session, names, sample or _random_feeds(placeholders))
    return model


def _placeholders(outputs: Mapping[str, Tensor]) -> list[Tensor]:
    """The placeholders that the outputs need.

    Raises:
        GraphError: no outputs, an output that is an input, or a name used twice.
    """
    if not outputs:
        raise GraphError("export: no outputs; name at least one tensor.")
    ops = needed(list(outputs.values()), [])
    placeholders = [op.output for op in ops if op.type == "placeholder"]
    for tensor in placeholders:
        if tensor.name in outputs:
            raise GraphError(
                f"export: {tensor.name!r} names an input and an output; give the output another name."
            )
    for op in ops:
        if op.type == "assign":
            raise GraphError(f"export: the outputs need {op.name}, which changes a variable; leave it out.")
    return placeholders


def _compile(session: Session, outputs: Mapping[str, Tensor], placeholders: Sequence[Tensor]) -> ModelProto:
    """The compiled graph with the values of its variables inside, and with readable names."""
    fetches = list(outputs.values())
    variables = [op.output for op in needed(fetches, placeholders) if op.type == "variable"]
    values = {variable: session.value(variable) for variable in variables if isinstance(variable, Variable)}
    program = compile_program(session.graph, fetches, placeholders, "plain", False, {}, values)
    model = program.model
    compiled = [name for name in program.outputs if name is not None]
    prune(model.graph, compiled)  # checks and prints have outputs of their own
    new = dict(zip(compiled, outputs, strict=True))
    new |= {name: tensor.name for tensor, name in program.feeds.items()}
    taken = {*new.values(), *(name for node in model.graph.node for name in node.output)}
    for value in model.graph.initializer:
        short = value.name.removeprefix("variable/")
        if short not in taken:
            new[value.name] = short
    _rename(model.graph, new)
    _drop_positions(model.graph)
    del model.graph.input[:], model.graph.output[:]
    read = {name for node in model.graph.node for name in node.input}  # some are for training only
    model.graph.input.extend(
        _value_info(tensor.name, tensor) for tensor in placeholders if tensor.name in read
    )
    model.graph.output.extend(_value_info(name, tensor) for name, tensor in outputs.items())
    model.graph.name = "graft"
    return model


def _drop_positions(graph: GraphProto) -> None:
    """Take the positions of maxima, which only gradients read, from max-pooling nodes."""
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for node in graph.node:
        if node.op_type == "MaxPool" and len(node.output) == 2 and node.output[1] not in read:
            del node.output[1]


def _rename(graph: GraphProto, new: Mapping[str, str]) -> None:
    """Give the tensors of a graph without branches new names, and nodes the name of their first output."""
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new.get(name, name) for name in names]
        node.name = node.output[0]
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = new.get(value.name, value.name)


def _value_info(name: str, tensor: Tensor) -> ValueInfoProto:
    sizes = [BATCH if i == 0 and size is None else size for i, size in enumerate(tensor.shape)]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(tensor.dtype), sizes)


def _random_feeds(placeholders: Sequence[Tensor]) -> dict[Tensor, Array]:
    rng = np.random.default_rng(0)
    feeds: dict[Tensor, Array] = {}
    for tensor in placeholders:
        shape = [2 if size is None else size for size in tensor.shape]
        if tensor.is_real:
            feeds[tensor] = rng.standard_normal(shape).astype(tensor.dtype)
        else:
            feeds[tensor] = rng.integers(0, 256 if tensor.dtype == np.uint8 else 2, shape).astype(
                tensor.dtype
            )
    return feeds


def _compare(model: ModelProto, session: Session, outputs: Mapping[str, Tensor], feeds: Feeds) -> None:
    """Run the model and the session on the same feeds.

    Raises:
        GraphError: the results differ by more than rounding.
    """
    expected = session.run(list(outputs.values()), feeds, training=False)
    taken = {value.name for value in model.graph.input}
    inputs = {tensor.name: value for tensor, value in feeds.items() if tensor.name in taken}
    try:
        results = OnnxSession(model.SerializeToString(), session.config).run(inputs)
    except GraftError as exc:
        raise GraphError(f"the exported model does not run: {exc}") from exc
    for name, got, want in zip(outputs, results, expected, strict=True):
        largest = np.abs(want[np.isfinite(want)]).max(initial=0)
        allowed = largest * TOLERANCE.get(want.dtype, 0.0)
        if got.shape != want.shape or not np.allclose(got, want, rtol=0, atol=allowed, equal_nan=True):
            raise GraphError(
                f"export: {name} of the exported model is {_show(got)}, of the session {_show(want)}; they differ by "
                f"more than {allowed:.1e}. Please report the graph."
            )


def _show(array: Array) -> str:
    return f"{array.shape} {np.array2string(array.reshape(-1)[:4], precision=6)}"
