"""Several tops on the same features as one, which answers with their mean."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import GraphProto, ModelProto, helper

from finetune.heads.joining import tensor_names
from finetune.heads.top import Top
from models.errors import GraphError
from models.graph import copied, opset_of, producers, rename
from models.names import EMBEDDING, FEATURES, LOGITS, VALUE
from models.nodes import Nodes
from models.opset import OPSET


def average(tops: Sequence[Top]) -> Top:
    """A top whose logits are the mean of the others' logarithms of probabilities, or whose value is their mean value.

    Its embedding is that of the first. Source of the rule: Hinton 2002, a product of experts of equal weight.

    Raises:
        GraphError: no top, tops of different tasks, or of different opsets.
    """
    models = [copied(top.model) for top in tops]
    ends = {VALUE if VALUE in producers(model.graph) else LOGITS for model in models}
    if len(ends) != 1 or any(opset_of(model) != OPSET for model in models):
        raise GraphError(
            f"{len(models)} tops that end in {', '.join(sorted(ends)) or 'nothing'}; expected some of one task, of "
            f"opset {OPSET}."
        )
    (end,) = ends
    mean, first = models[0], models[0].graph
    answers = []
    for number, model in enumerate(models):
        _apart(model.graph, f"{number}/")
        answers.append(f"{number}/{end}")
        if number:
            first.node.extend(model.graph.node)
            first.initializer.extend(model.graph.initializer)
            _add_domains(mean, model)
    nodes = Nodes("mean/")
    if end == LOGITS:
        answers = [nodes.add("LogSoftmax", answer, axis=1) for answer in answers]
    nodes.add("Mean", *answers, output=end)
    nodes.add("Identity", f"0/{EMBEDDING}", output=EMBEDDING)
    nodes.append_to(first)
    for value in first.output:
        value.name = value.name.removeprefix("0/")
    del first.value_info[:]
    return Top(mean, tops[0].chosen)


def _apart(graph: GraphProto, prefix: str) -> None:
    """Give all tensors and nodes other names, but for the features."""
    for name in sorted(tensor_names(graph) - {FEATURES}):
        rename(graph, name, prefix + name)
    for value in graph.output:
        value.name = value.name if value.name.startswith(prefix) else prefix + value.name
    for node in graph.node:
        node.name = prefix + node.name if node.name else ""


def _add_domains(mean: ModelProto, model: ModelProto) -> None:
    known = {entry.domain for entry in mean.opset_import}
    mean.opset_import.extend(
        helper.make_opsetid(entry.domain, entry.version)
        for entry in model.opset_import
        if entry.domain not in known
    )
