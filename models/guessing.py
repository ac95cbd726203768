"""What can be told about an ONNX network that came without a word, and the sentences that admit the guess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from models.card import Label
from models.errors import InputError
from models.graph import producers
from models.labels import imagenet_labels, labels_beside, labels_in, read_labels

T = TypeVar("T")
_PASSES_ON = ("Identity", "Flatten", "Reshape", "Squeeze", "Cast", "Dropout")
_CLASSIFIES = ("Gemm", "MatMul", "Conv", "Add")


@dataclass
class Guesses:
    """What was guessed, and what else an import has to say, as sentences for the user."""

    _notes: list[str] = field(default_factory=list)

    def take(self, value: T, sentence: str) -> T:
        """Note a guess and return its value; names in it come from the file and may hold anything."""
        self.note(f"guessed: {sentence}")
        return value

    def note(self, sentence: str) -> None:
        """Note what was computed, passed over or left out."""
        self._notes.append("".join(sign if sign.isprintable() else "?" for sign in sentence))

    @property
    def notes(self) -> tuple[str, ...]:
        """All sentences, in order."""
        return tuple(self._notes)


@dataclass(frozen=True)
class Ending:
    """Where a classifier ends: the output it is read from, the tensor of logits, and what that tensor holds."""

    output: str
    logits: str
    from_probabilities: bool = False


def find_logits(
    model: ModelProto, probe: Mapping[str, NDArray[Any]], labels: tuple[Label, ...] | None, guesses: Guesses
) -> Ending | None:
    """The end of a classifier, or None for a network that gives features.

    `probe`: each output for one image. A final Softmax is recognised, and its input taken as logits.
    """
    flat = {name: v for name, v in probe.items() if v.ndim >= 2 and v.size == len(v) * v.shape[1]}
    flat = {name: v for name, v in flat.items() if np.issubdtype(v.dtype, np.floating)}
    if not flat:
        return None
    output = next(iter(flat))
    if len(probe) > 1:
        guesses.take(None, f"output {output} of {', '.join(probe)} holds the classes")
    values, chain = flat[output], _backwards(model, output)
    width = values.shape[1]
    softmax = next((node for node in chain if node.op_type == "Softmax"), None)
    if softmax is not None:
        return Ending(output, softmax.input[0])
    classifies = bool(chain) and chain[-1].op_type in _CLASSIFIES
    if labels is None and width not in (1000, 1001) and not classifies:
        guesses.take(
            None, f"output {output} ({width} wide) is features, not classes (--labels makes them classes)"
        )
        return None
    if np.all(values >= 0) and np.allclose(values.sum(1), 1, atol=1e-3):
        guesses.take(None, f"output {output} holds probabilities, since they sum to 1")
        return Ending(output, output, from_probabilities=True)
    return Ending(output, output)


def guess_labels(
    path: Path, metadata: Mapping[str, str], classes: int, guesses: Guesses
) -> tuple[Label, ...]:
    """Labels from the file's metadata or a file beside it, else ImageNet's for 1,000 or 1,001 classes, else numbers."""
    inside = labels_in(metadata)
    if inside is not None:
        key, labels = inside
        if len(labels) == classes:
            return guesses.take(labels, f"labels from its metadata, {key!r} (--labels)")
        guesses.note(
            f"its metadata {key!r} has {len(labels)} labels for {classes} classes: not used (--labels)"
        )
    for beside in labels_beside(path):
        try:
            labels = read_labels(beside)
        except InputError:
            if beside.suffix == ".json":  # many tools write a config.json, of something else
                continue
            raise
        if len(labels) == classes:
            return guesses.take(labels, f"labels from {beside.name} (--labels)")
        guesses.note(
            f"{beside.name} beside it has {len(labels)} labels for {classes} classes: not used (--labels)"
        )
    if classes in (1000, 1001):
        background = ", with TensorFlow's background class" if classes == 1001 else ""
        sentence = f"{classes:,} outputs are ImageNet's classes{background} (--labels)"
        return guesses.take(imagenet_labels(classes), sentence)
    numbers = tuple(Label(str(i), f"class {i}") for i in range(classes))
    return guesses.take(numbers, f"{classes} classes without names (--labels)")


def _backwards(model: ModelProto, output: str) -> list[Any]:
    """The nodes from `output` back to the first that does more than hand values on, that one included."""
    made, chain = producers(model.graph), []
    while output in made:
        chain.append(made[output])
        if chain[-1].op_type not in _PASSES_ON:
            break
        output = chain[-1].input[0]
    return chain
