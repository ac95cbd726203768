"""Eight inputs and their answers in a model's file, by which another machine sees whether it computes the same.

The metadata entry `graft.proof` is JSON: {"format": 1, "precision", "rounding", "inputs", "outputs"}. `inputs`: uint8
(8, h, w, 3), drawn small so that a file does not grow by them; those in even places are enlarged to the size of the
network, the others repeated side by side. `outputs`: name -> float32 (8, values); of an output with more than 1,024
values an image, as many are kept, evenly spaced. Arrays are as in `models.packed`. The inputs are patterns, not photos:
who passes a file on passes no image of his on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.metadata import PROOF, read_entry
from models.model import Model
from models.names import LOGITS, PROBABILITIES
from models.packed import packed, unpacked
from models.runtime import Array

FORMAT = 1
IMAGES = 8
SIDE = 32  # of a stored input, at most
VALUES = 1024  # of an output that are kept for an image, at most
Precision = Literal["float32", "float16", "int8"]
# By how much an answer may differ at least, in parts of the largest one where that is above 1; docs/watching.md has
# what was measured. float16 rounds at 2^-11, and so do GPUs that multiply float32 as TF32; int8 has steps of 2^-8.
TOLERANCES: Mapping[Precision, float] = {"float32": 1e-4, "float16": 2e-2, "int8": 1e-1}
# And how many times what other kernels made of it where the file was written.
_OTHER_KERNELS = 8.0
_COARSER = 2.0**12  # the same on devices that round at 2^-11 what was measured with 2^-24
MEANINGLESS = 0.5  # what may differ so much proves nothing


@dataclass(frozen=True)
class StoredProof:
    """Inputs that a file carries, and what it answered where it was written."""

    inputs: NDArray[np.uint8]  # (8, h, w, 3)
    outputs: Mapping[str, NDArray[np.float32]]  # (8, values)
    precision: Precision  # in which the network computes
    rounding: float  # the largest difference between two ways to compute the same where the file was written

    def tolerance(self, device: str) -> float:
        """By how much answers may differ on a kind of device: only CPUs multiply float32 in full."""
        coarser = self.precision == "float32" and device != "cpu"
        least = TOLERANCES["float16" if coarser else self.precision]
        return max(least, self.rounding * (_COARSER if coarser else _OTHER_KERNELS))

    def images(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The inputs at the size of the network, uint8 (8, height, width, 3)."""
        _, height, width, _ = self.inputs.shape
        rows, columns = np.arange(size[0]), np.arange(size[1])
        enlarged = self.inputs[:, rows * height // size[0]][:, :, columns * width // size[1]]
        repeated = self.inputs[:, rows % height][:, :, columns % width]
        return np.where((np.arange(len(self.inputs)) % 2 == 0)[:, None, None, None], enlarged, repeated)

    def to_json(self) -> str:
        """The text of the metadata entry."""
        outputs = {name: packed(values, "<f4") for name, values in self.outputs.items()}
        inputs = packed(self.inputs, "u1")
        return json.dumps(
            {
                "format": FORMAT,
                "precision": self.precision,
                "rounding": self.rounding,
                "inputs": inputs,
                "outputs": outputs,
            },
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, text: str, where: str = "the model") -> StoredProof:
        """Read an entry. `where` names the file in errors.

        Raises:
            ModelError: it cannot be read, or has a later format.
        """
        return read_entry(text, FORMAT, cls._of, "its stored inputs", where)

    @classmethod
    def _of(cls, values: Any) -> StoredProof:
        if values["precision"] not in get_args(Precision):
            raise ValueError(f"precision {values['precision']!r}")
        rounding = float(values["rounding"])
        if not 0 <= rounding <= 1:
            raise ValueError(f"rounding {rounding}")
        inputs = unpacked(values["inputs"], "u1")
        outputs = {str(name): unpacked(array, "<f4") for name, array in values["outputs"].items()}
        if inputs.shape[0] != IMAGES or inputs.shape[3:] != (3,) or not inputs.size or not outputs:
            raise ValueError(f"inputs {list(inputs.shape)} and {len(outputs)} outputs")
        if any(a.ndim != 2 or len(a) != IMAGES or not np.isfinite(a).all() for a in outputs.values()):
            raise ValueError("answers that are not 8 rows of finite numbers")
        return cls(inputs, outputs, values["precision"], rounding)


@dataclass(frozen=True)
class Gap:
    """Where the answers of this machine are farthest from those in the file."""

    difference: float  # in parts of the largest answer where that is above 1
    tolerance: float
    output: str
    image: int  # from 1
    value: str  # which of the output's, or the name of its class
    expected: float
    got: float

    def __str__(self) -> str:
        return (
            f"input {self.image} of {IMAGES}, {self.output} of {self.value}: expected {self.expected:.6g}, got "
            f"{self.got:.6g} (a difference of {self.difference:.2g}; at most {self.tolerance:g} is rounding)"
        )

    @property
    def holds(self) -> bool:
        """Whether the difference is rounding."""
        return self.difference <= self.tolerance


def read_proof(metadata: Mapping[str, str], where: str = "the model") -> StoredProof | None:
    """The stored inputs in a model's metadata; None where it carries none.

    Raises:
        ModelError: there are some, and they cannot be read.
    """
    text = metadata.get(PROOF)
    return None if text is None else StoredProof.from_json(text, where)


def largest_gap(model: Model, proof: StoredProof) -> Gap:
    """Run the stored inputs, and say where the answers differ most in parts of what is allowed.

    Raises:
        ModelError: the network fails, or has no output of which answers are stored.
    """
    names = list(proof.outputs)
    if missing := [name for name in names if name not in model.session.outputs]:
        raise ModelError(
            f"{model.card.name}: has stored answers of {', '.join(missing)}, and no such output. The file was changed "
            "behind them: write it again with the command that made it."
        )
    answers = model.run(proof.images(model.card.preprocessing.size), names)
    tolerance = proof.tolerance(model.session.device.kind)
    gaps = [
        _gap(name, kept(values), proof.outputs[name], tolerance, model)
        for name, values in zip(names, answers, strict=True)
    ]
    return max(gaps, key=lambda gap: gap.difference)


def kept(values: Array) -> NDArray[np.float32]:
    """The values of an output (N, ...) that are stored and compared, float32 (N, at most 1,024)."""
    rows = values.reshape(len(values), -1)
    return rows[:, _places(rows.shape[1])].astype(np.float32)


def differences(got: Array, expected: Array) -> NDArray[np.float64]:
    """How far values are apart, in parts of the largest expected one where that is above 1; infinity for NaN."""
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(got.astype(np.float64) - expected) / scale
    return np.where(np.isfinite(apart), apart, np.inf)


def _places(count: int) -> NDArray[np.int64]:
    number = min(count, VALUES)
    return np.arange(number, dtype=np.int64) * count // max(number, 1)


def _gap(name: str, got: Array, expected: Array, tolerance: float, model: Model) -> Gap:
    if got.shape != expected.shape:
        raise ModelError(
            f"{model.card.name}: gives {name} with {got.shape[1]} values an image, and {expected.shape[1]} are stored. "
            "The file was changed behind them: write it again with the command that made it."
        )
    apart = differences(got, expected)
    image, place = np.unravel_index(int(apart.argmax()), apart.shape)
    labels = model.card.labels
    value = f"value {int(place)}" if expected.shape[1] > 1 else "the image"
    if name in (LOGITS, PROBABILITIES) and expected.shape[1] == min(len(labels), VALUES):
        value = labels[int(_places(len(labels))[place])].name
    return Gap(
        float(apart[image, place]), tolerance, name, int(image) + 1, value,
        float(expected[image, place]), float(got[image, place]),
    )  # fmt: skip
