"""What the outputs of a network mean: classes that exclude each other, labels that do not, a number, or features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto

from models.anatomy import PASSES_ON
from models.card import Task
from models.errors import InputError, ModelError
from models.graph import producers, reads
from models.guessing import Guesses
from models.import_options import ImportOptions
from models.outputs import Outputs

Probe = Mapping[str, NDArray[Any]]
Holds = Literal["logits", "probabilities"]
_PASSES_ON = (*PASSES_ON, "QuantizeLinear", "DequantizeLinear")
_ACTIVATIONS = ("Softmax", "LogSoftmax", "Sigmoid")
_CLASSIFIES = ("Gemm", "MatMul", "Conv", "Add", *_ACTIVATIONS)
# What a sigmoid by hand ends in; a mean behind a Relu may stay within 0 and 1 too, on noise.
_BOUNDED = ("Div", "Reciprocal", "HardSigmoid", "Clip", "QLinearSigmoid")
# What frameworks call vectors of features, the one to take first. Source: transformers' vision models.
_EMBEDDINGS = (
    "image_embeds", "image_embeddings", "image_embedding", "image_features", "pooler_output", "embeddings", "embedding",
    "last_hidden_state",
)  # fmt: skip
_IMAGENET = (1000, 1001)


@dataclass(frozen=True)
class Ending:
    """How a network ends.

    `tensors`: of features those that stay outputs, the default first; else the one read, or two heads of which the
    mean is taken. `holds`: what is in them. `classes`: how many, 0 without; `width`: how many numbers an image has,
    1 for the one number of two classes. `has_rows`: whether the first axis is that of the images.
    `by_name`: features that a file, or the user, calls so.
    """

    task: Task
    tensors: tuple[str, ...]
    holds: Holds = "logits"
    classes: int = 0
    width: int = 0
    has_rows: bool = True
    by_name: bool = False


def find_ending(
    model: ModelProto,
    outputs: Outputs,
    probe: Probe,
    counts: Sequence[int],
    images: int,
    path: Path,
    options: ImportOptions,
    guesses: Guesses,
) -> Ending:
    """How a network ends, by its last nodes, its outputs for some `images` (`probe`, by tensor) and what was asked for.

    `counts`: how many labels the file, or one beside it, has.

    Raises:
        ModelError: labels were given, or a task, that no output fits.
        InputError: no output of the name that was asked for.
    """
    given = options.labels
    if given and options.task in ("features", "regression"):
        raise InputError(
            f"{path}: labels are for classes, and --task {options.task} has none. Leave one out."
        )
    asked = _asked(outputs, path, options.output_name)
    usable = {name: value for name, value in probe.items() if asked is None or name == asked}
    if not usable:
        raise ModelError(f"{path}: output {options.output_name} has no row for each image. Name another one.")
    widths = {name: _width(value, images) for name, value in usable.items()}
    flat = {name: width for name, width in widths.items() if width and _is_float(usable[name])}
    named = _named_embeddings(outputs, usable)
    if options.task == "features" or (options.task is None and not given and named):
        return _features(outputs, usable, named, asked is not None, guesses)
    wanted = [len(given)] if given else list(counts)
    fitting = {name: width for name, width in flat.items() if _fits(width, wanted)}
    if given and not fitting:
        raise ModelError(_no_fit(path, outputs, widths, len(given)))
    if not flat:
        if options.task is None:
            return _features(outputs, usable, named, asked is not None, guesses)
        raise ModelError(
            f"{path}: its outputs are {_shapes(outputs, usable)}; for --task {options.task} one with a vector for each "
            "image was expected. Take another task."
        )
    tensors = _chosen(model, outputs, fitting or flat, guesses, asked is not None)
    ending = _meaning(
        model, outputs, probe, widths[tensors[0]], tensors, path, options, bool(fitting), guesses
    )
    return replace(ending, has_rows=all(usable[name].ndim > 1 for name in tensors))


def _asked(outputs: Outputs, path: Path, name: str | None) -> str | None:
    if name is None:
        return None
    if name not in outputs.tensors:
        raise InputError(
            f"{path}: no output is called {name!r}; there is {', '.join(outputs.tensors)}. Name one of them."
        )
    return outputs.tensors[name]


def _is_float(value: NDArray[Any]) -> bool:
    return bool(np.issubdtype(value.dtype, np.floating))


def _width(value: NDArray[Any], images: int) -> int:
    """How many numbers an image has in a vector, whatever axes of 1 stand beside it; 0 for maps and tokens.

    Without an axis for the images, (C,), all numbers are of one image.
    """
    if value.ndim == 1:
        return int(value.size // images)
    return int(value.size // len(value)) if value.size == len(value) * max(value.shape[1:]) else 0


def _fits(width: int, counts: Iterable[int]) -> bool:
    """One number may stand for two classes, of which one or both have a label."""
    return any(width == count or (width == 1 and count in (1, 2)) for count in counts)


def _no_fit(path: Path, outputs: Outputs, widths: Mapping[str, int], labels: int) -> str:
    if len(widths) == 1 and all(widths.values()):
        return f"{path}: {labels} labels were given and the network has {max(widths.values())} outputs."
    found = ", ".join(
        f"{outputs.name(name)} with {width}" if width else f"{outputs.name(name)}, no vector"
        for name, width in widths.items()
    )
    return (
        f"{path}: {labels} labels were given, and none of its outputs has as many: {found}. Give other labels, or name "
        "the output (--output-name)."
    )


def _shapes(outputs: Outputs, probe: Probe) -> str:
    return ", ".join(f"{outputs.name(name)} {list(value.shape)}" for name, value in probe.items())


def _named_embeddings(outputs: Outputs, usable: Probe) -> tuple[str, ...]:
    """The tensors that are features by their names, unless another output is called logits."""
    names = {outputs.name(tensor).casefold(): tensor for tensor in usable}
    if any("logits" in name for name in names):
        return ()
    return tuple(names[name] for name in _EMBEDDINGS if name in names)


def _features(
    outputs: Outputs, usable: Probe, named: tuple[str, ...], asked: bool, guesses: Guesses
) -> Ending:
    """The outputs as features: the one that has the name of features, else all of them."""
    if named and len(usable) > 1:
        others = ", ".join(outputs.name(tensor) for tensor in usable)
        guesses.take(None, f"output {outputs.name(named[0])} of {others} holds the features (--output-name)")
    return Ending("features", named[:1] or tuple(usable), by_name=bool(named) or asked)


def _chosen(
    model: ModelProto, outputs: Outputs, flat: Mapping[str, int], guesses: Guesses, asked: bool
) -> tuple[str, ...]:
    """The output to read: of the last layer; or two heads that the network is published with."""
    names = ", ".join(outputs.tensors)
    if asked or len(set(outputs.tensors.values())) == 1:
        return tuple(flat)[:1]
    depths = _depths(model.graph)
    made = producers(model.graph)
    likely = [name for name in flat if _ends_in_classes(made, name, flat[name])] or list(flat)
    last = max(likely, key=lambda name: depths.get(name, 0))
    heads = [name for name in likely if _are_heads(model, outputs, depths, flat, name, last)]
    if heads:
        both = tuple(name for name in flat if name in (last, heads[0]))
        pair = " and ".join(map(outputs.name, both))
        guesses.take(
            None, f"outputs {pair} of {names} are two heads, of which the mean is taken (--output-name)"
        )
        return both
    guesses.take(None, f"output {outputs.name(last)} of {names} holds the classes (--output-name)")
    return (last,)


def _are_heads(
    model: ModelProto,
    outputs: Outputs,
    depths: Mapping[str, int],
    flat: Mapping[str, int],
    one: str,
    other: str,
) -> bool:
    """Whether two outputs are a class and a distillation head, whose mean is the published answer.

    Source: timm, deit.py and levit.py, `forward_head` in evaluation: (x + x_dist) / 2.
    """
    if one == other or flat[one] != flat[other] or abs(depths.get(one, 0) - depths.get(other, 0)) > 1:
        return False
    names = outputs.name(one) + outputs.name(other)
    return ("dist" in names.casefold() or flat[one] in _IMAGENET) and len(flat) == 2


def _depths(graph: GraphProto) -> dict[str, int]:
    """Tensor -> the most nodes that lie on a way to it."""
    depths: dict[str, int] = {}
    for node in graph.node:
        depth = 1 + max((depths.get(name, 0) for name in reads(node)), default=0)
        depths.update((name, depth) for name in node.output if name)
    return depths


def _ends_in_classes(made: Mapping[str, NodeProto], tensor: str, width: int) -> bool:
    chain = _backwards(made, tensor)
    return width in _IMAGENET or (bool(chain) and chain[-1].op_type in _CLASSIFIES)


def _meaning(
    model: ModelProto,
    outputs: Outputs,
    probe: Probe,
    width: int,
    tensors: tuple[str, ...],
    path: Path,
    options: ImportOptions,
    labelled: bool,
    guesses: Guesses,
) -> Ending:
    """What the numbers of the chosen output are."""
    made, tensor = producers(model.graph), tensors[0]
    name, values = outputs.name(tensor), probe[tensor]
    task = options.task
    chain = _backwards(made, tensor)
    end = chain[-1].op_type if chain else ""
    if task == "regression":
        if width != 1:
            raise ModelError(
                f"{path}: output {name} has {width} numbers for an image; a regression has one. Name another output, "
                "or take --task features."
            )
        return Ending("regression", tensors, width=1)
    rows = values.reshape(-1, width).astype(np.float64)
    within = bool(np.all((rows >= 0) & (rows <= 1)))
    if width == 1:
        return _two_classes(tensors, chain, within and end in _BOUNDED, path, task, labelled, guesses)
    rounded = any(node.op_type == "DequantizeLinear" for node in chain)  # each by 1/512
    error = min(0.2, width / 512) if rounded else 1e-3
    totals = rows.sum(axis=1)
    # Of 1, in percent, or in 255 parts; rounded ones were traced back.
    whole = end != "Sigmoid" and bool(np.all(rows >= 0))
    sums_to_1 = whole and any(np.allclose(totals, total, rtol=error) for total in (1, 100, 255))
    if task is None and not labelled and not sums_to_1 and width not in _IMAGENET and end not in _CLASSIFIES:
        guesses.take(None, f"output {name} ({width} wide) is features, not classes (--task, --labels)")
        return Ending("features", tuple(probe))
    if task == "multilabel" and (end in ("Softmax", "LogSoftmax") or sums_to_1):
        raise ModelError(
            f"{path}: output {name} gives probabilities that sum to 1: its classes exclude each other. Leave --task "
            "multilabel out."
        )
    if len(tensors) > 1:  # the mean of what the two heads give
        return Ending("classification", tensors, "probabilities" if sums_to_1 else "logits", width, width)
    if end in _ACTIVATIONS:
        source = (chain[-1].input[0],)
        if end != "Sigmoid":
            return Ending("classification", source, "logits", width, width)
        if task == "classify":
            guesses.note(
                f"output {name} ends in a sigmoid for each class; a softmax takes its place, as asked for"
            )
            return Ending("classification", source, "logits", width, width)
        guesses.note(
            f"output {name} ends in a sigmoid: several labels may hold at once, each with a probability of its own "
            "(--task classify takes them for classes that exclude each other)"
        )
        return Ending("multilabel", source, "logits", width, width)
    if sums_to_1:
        guesses.take(None, f"output {name} holds probabilities, since they sum to {totals.mean():.3g}")
        return Ending("classification", tensors, "probabilities", width, width)
    bounded = within and end in _BOUNDED
    if task == "multilabel" or (bounded and task is None):
        holds: Holds = "probabilities" if bounded else "logits"
        if task is None:
            guesses.take(
                None, f"output {name} holds a probability for each label by itself (--task classify)"
            )
        return Ending("multilabel", tensors, holds, width, width)
    return Ending("classification", tensors, "logits", width, width)


def _two_classes(
    tensors: tuple[str, ...],
    chain: Sequence[NodeProto],
    bounded: bool,
    path: Path,
    task: str | None,
    labelled: bool,
    guesses: Guesses,
) -> Ending:
    """What one number for each image is: the second of two classes, or a label."""
    end = chain[-1].op_type if chain else ""
    if end in ("Softmax", "LogSoftmax"):
        raise ModelError(
            f"{path}: ends in a softmax over one value, which is the same for every image. Export it with a sigmoid, "
            "or with two classes."
        )
    kind: Task = "multilabel" if task == "multilabel" else "classification"
    classes = 1 if kind == "multilabel" else 2
    if end == "Sigmoid":
        return Ending(kind, (chain[-1].input[0],), "logits", classes, 1)
    if task is None and not labelled and not bounded and end not in _CLASSIFIES:
        guesses.take(None, "its one number is a feature, not a class (--task, --labels)")
        return Ending("features", tensors)
    holds: Holds = "probabilities" if bounded else "logits"
    if task is None and not labelled:
        what = "probability" if holds == "probabilities" else "logit"
        guesses.take(
            None,
            f"its one number is the {what} of the second of two classes (--task regression takes it for a number)",
        )
    return Ending(kind, tensors, holds, classes, 1)


def _backwards(made: Mapping[str, NodeProto], output: str) -> list[NodeProto]:
    """The nodes from `output` back to the first that does more than hand values on, that one included."""
    chain: list[NodeProto] = []
    while output in made:
        chain.append(made[output])
        if chain[-1].op_type not in _PASSES_ON:
            break
        output = chain[-1].input[0]
    return chain
