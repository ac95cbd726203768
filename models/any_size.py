"""A finished file for other runtimes: one photo of any size goes in, and the graph itself resizes and crops it.

Files of Graft take pixels at their input's size, which Pillow has made. onnxruntime in a browser, from C# or Java has
no Pillow: here plain ONNX operators do the same, Resize of opset 18 with `antialias` for Pillow's filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper
from PIL import Image

from models.card import ANY_SIZE, KEY, ModelCard, card_of
from models.errors import ModelError
from models.graph import copied, lifted, rename
from models.metadata import MEASURED, drop_entries, put_entry
from models.model import CLASSIFYING, Model
from models.names import INPUT, PROBABILITIES, VALUE
from models.nodes import Nodes
from models.preprocessing import LONGEST, Preprocessing
from models.runtime import RuntimeConfig
from models.serialized import is_large, session_of
from models.wording import first_line

SUFFIX = ".any-size"
# How far a probability may be from that of the model itself; other outputs, in parts of their largest value.
TOLERANCE = 0.02
_RESIZE_OPSET = 18  # the first whose Resize can smooth while it makes smaller
_PREFIX = "any_size/"
# Attributes of Resize for Pillow's filters. Pillow's cubic has a = -0.5, and renormalises its weights at borders.
# "nearest" is not here: both round ties by chance, and pixels of enlarged photos then come from the neighbour.
_RESIZE: dict[str, dict[str, Any]] = {
    "bilinear": {"mode": "linear", "antialias": 1},
    "bicubic": {"mode": "cubic", "antialias": 1, "cubic_coeff_a": -0.5, "exclude_outside": 1},
}


def any_size(model: ModelProto) -> ModelProto:
    """A copy of a model with a card whose input is one upright RGB photo, uint8 (1, H, W, 3) of any H and W.

    Outputs stay. The card goes to the metadata entry `graft.any-size`, by which Graft's own commands refuse the file:
    they decode and resize themselves.

    Raises:
        ModelError: no card, a filter that ONNX has not, or a network that takes several images at a time, whose opset
            cannot be lifted or that is too large for one file.
    """
    card = card_of(model)
    if card is None:
        raise ModelError("the network has no model card, so nobody knows how to resize. Import it first.")
    plan = card.preprocessing
    if plan.interpolation not in _RESIZE:
        raise ModelError(
            f"{card.name} is made for photos resized by {plan.interpolation!r}, which no ONNX operator does as "
            f"Pillow does; expected {' or '.join(_RESIZE)}. Resize outside of the network, and give the model itself "
            "the pixels."
        )
    if card.batch_size not in (None, 1):
        raise ModelError(
            f"{card.name} takes {card.batch_size} images at a time; expected any number, or one: photos of several "
            "sizes do not lie in one array. Export the network for one image, and import that."
        )
    if is_large(model):
        raise ModelError(
            f"{card.name} is larger than 2 GiB, which one ONNX file cannot hold. Use a smaller network."
        )
    made = lifted(copied(model), _RESIZE_OPSET)
    del made.metadata_props[:]
    made.metadata_props.extend(model.metadata_props)
    drop_entries(made, (KEY, *MEASURED))
    put_entry(made, ANY_SIZE, card.to_json())
    _prepend(made, plan)
    return made


def gap_between(original: ModelProto, made: ModelProto, *, threads: int | None = None) -> float:
    """How far the answers of an any-size file are from those of its model, on two pictures, at most.

    One is wide and larger than the input, one upright and smaller. Probabilities are compared as they are, other
    outputs in parts of their largest value.

    Raises:
        ModelError: onnxruntime refuses one of them.
    """
    card = card_of(original)
    if card is None:
        raise ModelError("the network has no model card. Import it first.")
    config = RuntimeConfig("cpu", threads)
    own = Model(session_of(original, config), card)
    session = session_of(made, config)
    names = _compared(card, session.outputs)
    gaps = []
    for pixels in _pictures(card.preprocessing.size):
        expected = own.run(card.preprocessing.load(pixels)[None], names)
        answers = session.run({INPUT: pixels[None]}, names)
        gaps += [_gap(name, a, b) for name, a, b in zip(names, expected, answers, strict=True)]
    return max(gaps)


def checked_any_size(model: ModelProto, *, threads: int | None = None) -> tuple[ModelProto, float]:
    """`any_size` of a model, and `gap_between` both.

    Raises:
        ModelError: as `any_size`, or a gap above `TOLERANCE`.
    """
    made = any_size(model)
    try:
        gap = gap_between(model, made, threads=threads)
    except ModelError as exc:
        raise ModelError(f"the network does not run behind a photo of any size ({first_line(exc)}).") from exc
    if not gap <= TOLERANCE:
        raise ModelError(
            f"the any-size file differs by {gap:.3f} from the model itself; expected {TOLERANCE} at most. The network "
            "magnifies what onnxruntime resizes otherwise than Pillow. Resize outside of it."
        )
    return made, gap


def _compared(card: ModelCard, outputs: Sequence[str]) -> list[str]:
    if card.task in CLASSIFYING:
        return [PROBABILITIES]
    return [VALUE] if card.task == "regression" else list(outputs)


def _gap(name: str, expected: NDArray[np.float32], answer: NDArray[np.float32]) -> float:
    gap = float(np.abs(expected.astype(np.float64) - answer).max())
    return gap if name == PROBABILITIES else gap / max(float(np.abs(expected).max()), 1e-6)


def _pictures(size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Two pictures of smooth noise, uint8 (H, W, 3); the same for a size."""
    height, width = size
    random = np.random.default_rng(0)
    shapes = (2 * height + 7, 3 * width + 2), (max(2, height * 4 // 5 + 1), max(2, width * 3 // 5))
    pictures = []
    for rows, columns in shapes:
        coarse = Image.fromarray(random.integers(0, 256, (9, 12, 3), np.uint8))
        pictures.append(np.asarray(coarse.resize((columns, rows), Image.Resampling.BICUBIC)))
    return pictures


def _prepend(model: ModelProto, plan: Preprocessing) -> None:
    """Put what `Preprocessing` does before the network, in place."""
    graph = model.graph
    inner = f"{_PREFIX}{INPUT}"
    rename(graph, INPUT, inner)
    # Weights are listed among the inputs by files of IR version 3.
    others = [value for value in graph.input if value.name != inner]
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [1, "height", "width", 3]))
    graph.input.extend(others)
    nodes = Nodes(_PREFIX)
    fitted = _Fitting(nodes, plan).fitted()
    turned = nodes.add("Transpose", fitted, perm=[0, 2, 3, 1])
    # Its size is known here: runtimes that plan by shapes see it.
    nodes.add("Reshape", turned, nodes.constant("shape", [1, *plan.size, 3], np.int64), output=inner)
    nodes.append_to(graph, first=True)


class _Fitting:
    """`Preprocessing._fit` as ONNX nodes; pairs of numbers are (height, width), int64 (2,)."""

    def __init__(self, nodes: Nodes, plan: Preprocessing) -> None:
        self._nodes, self._plan = nodes, plan
        self._size = nodes.constant("size", plan.size, np.int64)
        self._numbers: dict[int, str] = {}
        self._photo = INPUT
        self._sides = nodes.add("Shape", INPUT, start=1, end=3)

    def fitted(self) -> str:
        """The photo at the input's size, uint8 (1, 3, h, w)."""
        add, plan = self._nodes.add, self._plan
        if plan.crop_fraction < 1:
            fraction = self._nodes.constant("crop_fraction", plan.crop_fraction, np.float64)
            part = self._whole_numbers(add("Mul", self._doubles(self._sides), fraction))
            self._keep_centre(add("Max", part, self._number(1)))
        if plan.resize == "squash":
            return self._resized(self._size)
        if plan.resize == "pad":
            return self._padded()
        return self._cropped()

    def _cropped(self) -> str:
        add, plan = self._nodes.add, self._plan
        short = add("ReduceMin", self._sides, keepdims=1)
        # A strip of 1 x 30,000 pixels would become gigabytes.
        longest = self._nodes.constant("longest", [LONGEST * max(plan.size) // min(plan.size)], np.int64)
        self._keep_centre(add("Min", self._sides, add("Mul", short, longest)))
        target = self._nodes.constant("resize_to", [plan.resize_to or max(plan.size)], np.int64)
        whole = add("Div", add("Mul", self._sides, target), short)
        start = self._half_to_even(add("Sub", whole, self._size))
        return self._slice(self._resized(whole), start, self._size, (2, 3))

    def _padded(self) -> str:
        add = self._nodes.add
        factor = add(
            "ReduceMin", add("Div", self._doubles(self._size), self._doubles(self._sides)), keepdims=1
        )
        rounded = add("Round", add("Mul", self._doubles(self._sides), factor))
        whole = add("Max", self._whole_numbers(rounded), self._number(1))
        rest = add("Sub", self._size, whole)
        before = add("Div", rest, self._number(2))
        none = self._nodes.constant("none", [0, 0], np.int64)
        pads = add("Concat", none, before, none, add("Sub", rest, before), axis=0)
        grey = self._nodes.constant("pad_value", self._plan.pad_value, np.uint8)
        return add("Pad", self._resized(whole), pads, grey)

    def _resized(self, whole: str) -> str:
        turned = self._nodes.add("Transpose", self._photo, perm=[0, 3, 1, 2])
        one_image = self._nodes.constant("one_image", [1, 3], np.int64)
        sizes = self._nodes.add("Concat", one_image, whole, axis=0)
        return self._nodes.add("Resize", turned, "", "", sizes, **_RESIZE[self._plan.interpolation])

    def _keep_centre(self, kept: str) -> None:
        start = self._nodes.add("Div", self._nodes.add("Sub", self._sides, kept), self._number(2))
        self._photo = self._slice(self._photo, start, kept, (1, 2))
        self._sides = kept

    def _slice(self, x: str, start: str, size: str, axes: tuple[int, int]) -> str:
        end = self._nodes.add("Add", start, size)
        along = self._nodes.constant(f"axes_{len(self._nodes.nodes)}", axes, np.int64)
        return self._nodes.add("Slice", x, start, end, along)

    def _half_to_even(self, difference: str) -> str:
        """Half of a pair of numbers as Python rounds it: 0.5 to 0, 1.5 to 2."""
        add = self._nodes.add
        half = add("Div", difference, self._number(2))
        odd = add("Sub", difference, add("Mul", half, self._number(2)))
        half_is_odd = add("Sub", half, add("Mul", add("Div", half, self._number(2)), self._number(2)))
        return add("Add", half, add("Mul", odd, half_is_odd))

    def _number(self, value: int) -> str:
        """A whole number, once in the graph and only where a node reads it."""
        if value not in self._numbers:
            self._numbers[value] = self._nodes.constant(f"number_{value}", [value], np.int64)
        return self._numbers[value]

    def _doubles(self, x: str) -> str:
        return self._nodes.add("Cast", x, to=TensorProto.DOUBLE)

    def _whole_numbers(self, x: str) -> str:
        return self._nodes.add("Cast", x, to=TensorProto.INT64)
