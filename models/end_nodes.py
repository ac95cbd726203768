"""The nodes that make a network end in what Graft's models give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from onnx import ModelProto, TensorProto, helper

from models.endings import Ending, Probe
from models.graph import prune
from models.names import LOGITS, PROBABILITIES, VALUE
from models.nodes import Nodes, floats


def put_ending(model: ModelProto, ending: Ending, probe: Probe) -> None:
    """Make the network end in what Graft's models give: `logits` and `probabilities`, `value`, or its features."""
    graph = model.graph
    del graph.output[:], graph.value_info[:]
    if ending.task == "features":
        for name in ending.tensors:
            kind = helper.np_dtype_to_tensor_dtype(probe[name].dtype)
            graph.output.append(helper.make_tensor_value_info(name, kind, ["N", *probe[name].shape[1:]]))
        prune(graph, ending.tensors)
        return
    nodes = Nodes("graft/end/")
    if ending.task == "regression":
        flat = nodes.add("Reshape", ending.tensors[0], nodes.constant("rows", [-1], np.int64))
        nodes.add("Cast", flat, to=TensorProto.FLOAT, output=VALUE)
        graph.output.append(floats(VALUE, ["N"]))
    else:
        _put_classes(nodes, ending)
        graph.output.extend(floats(name, ["N", None]) for name in (LOGITS, PROBABILITIES))
    nodes.append_to(graph)
    prune(graph, [value.name for value in graph.output])


def _put_classes(nodes: Nodes, ending: Ending) -> None:
    """float32 `logits` and `probabilities`, (N, classes), whose softmax or sigmoid they are."""
    two = ending.width == 1 and ending.task == "classification"
    raw = two or ending.holds == "probabilities" or len(ending.tensors) > 1
    heads = []
    for i, tensor in enumerate(ending.tensors):
        if ending.has_rows:
            flat = nodes.add("Flatten", tensor, axis=1)
        else:
            flat = nodes.add("Reshape", tensor, nodes.constant(f"rows_{i}", [-1, ending.width], np.int64))
        heads.append(nodes.add("Cast", flat, to=TensorProto.FLOAT, output=None if raw else LOGITS))
    x = heads[0]
    if len(heads) > 1:
        last = None if two or ending.holds == "probabilities" else LOGITS
        x = nodes.add("Mul", nodes.add("Add", *heads), nodes.constant("half", 0.5), output=last)
    independent = two or ending.task == "multilabel"
    if ending.holds == "probabilities":
        # The logarithm of probabilities is a set of logits that gives them; of each by itself, that of its odds.
        tiny = nodes.constant("tiny", np.finfo(np.float32).tiny)
        yes = nodes.add("Log", nodes.add("Max", x, tiny), output=None if independent else LOGITS)
        if independent:
            rest = nodes.add("Sub", nodes.constant("one", 1.0), x)
            no = nodes.add("Log", nodes.add("Max", rest, tiny))
            x = nodes.add("Sub", yes, no, output=None if two else LOGITS)
    if two:  # softmax(0, z) = (1 - sigmoid(z), sigmoid(z))
        nodes.add("Pad", x, nodes.constant("before", [0, 1, 0, 0], np.int64), output=LOGITS)
    if ending.task == "multilabel":
        nodes.add("Sigmoid", LOGITS, output=PROBABILITIES)
    else:
        nodes.add("Softmax", LOGITS, output=PROBABILITIES, axis=1)


def moved(ending: Ending, names: Mapping[str, str]) -> Ending:
    """The same ending in a graph whose tensors were renamed."""
    return replace(ending, tensors=tuple(names.get(name, name) for name in ending.tensors))
