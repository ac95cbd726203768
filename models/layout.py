"""Which axis of each tensor holds channels and which places of the image, followed from the input through the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from models.axes import (
    CHANNELS,
    COLUMNS,
    IMAGES,
    PLACES,
    ROWS,
    TOKENS,
    UNKNOWN,
    Axis,
    axis,
    regrouped,
    resized,
)
from models.graph import input_names, varying
from models.sizes import batch_of, sizes_of

Axes = tuple[Axis, ...]
_WINDOWS = (
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool",
    "DepthToSpace", "SpaceToDepth",
)  # fmt: skip
_REDUCTIONS = (
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceSum",
    "ReduceL2",
    "ReduceProd",
    "ReduceLogSumExp",
)
_RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
_RESIZES = ("Slice", "Split", "Pad", "Resize", "Upsample")


@dataclass(frozen=True)
class Layout:
    """Of a tensor with a row an image and places in it: maps (N, C, H, W) or (N, H, W, C), tokens (N, T, C).

    `channels`: their axis. `places`: the axes of rows and columns, or the one of tokens. `grid`: (rows, columns) of
    the places, None for tokens that are not in the order of the image. `before`, `after`: how many tokens, such as
    a class token, stand beside them.
    """

    channels: int
    places: tuple[int, ...]
    grid: tuple[int, int] | None
    before: int = 0
    after: int = 0

    @property
    def beside(self) -> int:
        """How many tokens stand for no place."""
        return self.before + self.after

    def as_maps(self, array: NDArray[Any]) -> NDArray[Any]:
        """A tensor that has a grid as maps (N, C, rows, columns), without the tokens beside it."""
        assert self.grid is not None
        moved = np.moveaxis(array, self.channels, 1)  # (N, C, H, W) or (N, C, T)
        if len(self.places) == 1:
            moved = moved[:, :, self.before : moved.shape[2] - self.after]
        return moved.reshape(*moved.shape[:2], *self.grid)


@dataclass(frozen=True)
class Layouts:
    """Of all tensors of a network, as far as they can be known.

    `places`: name -> layout of those that have places. `vectors`: those that have none, (N, C). `shapes`: sizes for
    one image.
    """

    places: dict[str, Layout]
    vectors: frozenset[str]
    shapes: dict[str, tuple[int, ...]]


def layouts_of(model: ModelProto) -> Layouts:
    """Follow images from the input of a network to all that depends on them."""
    tracer = _Tracer(model)
    places, vectors = {}, set()
    for name, axes in tracer.axes.items():
        if not axes or axes[0] not in (axis(IMAGES, tracer.batch), Axis()) or axes[0].size != tracer.batch:
            continue
        layout = _layout(axes)
        if layout is not None:
            places[name] = layout
        elif [each.letter in (CHANNELS, UNKNOWN) for each in axes[1:] if each.size != 1] in ([], [True]):
            vectors.add(name)
    return Layouts(places, frozenset(vectors), {name: shape[1:] for name, shape in tracer.shapes.items()})


def _layout(axes: Axes) -> Layout | None:
    letters = [each.letter for each in axes]
    where = [i for i in range(1, len(axes)) if letters[i] in PLACES]
    if len(axes) == 4 and len(where) == 1:  # one row, or one column
        single = [i for i in (1, 2, 3) if not letters[i]]
        channels = [i for i in (1, 2, 3) if letters[i] == CHANNELS]
        where = sorted([*where, *single]) if len(single) == len(channels) == 1 else []
    if len(where) != len(axes) - 2 or len(where) not in (1, 2):
        return None
    (channel,) = set(range(1, len(axes))) - set(where)
    if letters[channel] not in ("", CHANNELS):
        return None
    if len(where) == 2:
        rows, columns = (axes[i] for i in where)
        ordered = rows.letter in ("", ROWS) and columns.letter in ("", COLUMNS)
        grid = Axis((*rows.atoms, *columns.atoms)).grid
        beside = rows.before + rows.after + columns.before + columns.after
        return Layout(channel, tuple(where), grid) if ordered and grid and not beside else None
    tokens = axes[where[0]]
    return Layout(channel, tuple(where), tokens.grid, tokens.before, tokens.after)


class _Tracer:
    """Axes of the tensors that depend on the image; one whose meaning is lost is not among them."""

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self.batch = batch_of(model)
        self.shapes, self._values = sizes_of(model)
        self.axes: dict[str, Axes] = {}
        for name in input_names(graph):
            shape = self.shapes.get(name, ())
            if len(shape) == 4:
                letters = "NHWC" if shape[3] == 3 else "NCHW"
                pairs = zip(letters, shape, strict=True)
                self.axes[name] = tuple(axis(letter, size) for letter, size in pairs)
        depends = varying(graph)
        for node in graph.node:  # in topological order, as ONNX demands
            if any(name in depends for name in node.output):
                self._follow(node)

    def _follow(self, node: NodeProto) -> None:
        outputs = [name for name in node.output if name in self.shapes]
        if outputs and outputs[0] == node.output[0] and any(name in self.axes for name in node.input):
            rule = self._rule(node.op_type)
            for name in outputs:
                axes = rule(node, self.shapes[name])
                if axes is not None and tuple(each.size for each in axes) == self.shapes[name]:
                    self.axes[name] = axes

    def _rule(self, op: str) -> Callable[[NodeProto, tuple[int, ...]], Axes | None]:
        if op in _WINDOWS:
            return self._window
        if op in _REDUCTIONS:
            return self._reduction
        if op in _RESHAPES:
            return lambda node, shape: (
                regrouped(self.axes[node.input[0]], shape) if self._first(node) else None
            )
        if op in _RESIZES:
            return self._resize
        rules = {
            "Transpose": self._transpose, "Gemm": self._product, "MatMul": self._product,
            "Concat": self._concat, "Gather": self._gather, "Einsum": self._einsum, "Attention": self._attention,
        }  # fmt: skip
        return rules.get(op, self._elementwise)

    def _first(self, node: NodeProto) -> Axes | None:
        return self.axes.get(node.input[0])

    def _ints(self, node: NodeProto, position: int, attribute: str = "") -> list[int] | None:
        """Numbers that stand at an input or, in older opsets, in an attribute; None where they are not known."""
        named = _attribute(node, attribute)
        if named is not None:
            return [int(number) for number in np.atleast_1d(named)]
        value = self._values.get(node.input[position]) if len(node.input) > position else None
        return None if value is None else [int(number) for number in value.ravel()]

    def _window(self, node: NodeProto, shape: tuple[int, ...]) -> Axes | None:
        """Operators that are (N, C, H, W) by definition."""
        given = self._first(node)
        if given is None or len(shape) not in (3, 4) or len(given) != len(shape):
            return None
        letters = (ROWS, COLUMNS) if len(shape) == 4 else (TOKENS,)
        fits = all(old.letter in ("", new) for old, new in zip(given[2:], letters, strict=True))
        named = letters if fits else [UNKNOWN] * len(letters)
        return (
            given[0],
            axis(CHANNELS, shape[1]),
            *(
                old if old.size == size else axis(letter, size)
                for old, letter, size in zip(given[2:], named, shape[2:], strict=True)
            ),
        )

    def _reduction(self, node: NodeProto, shape: tuple[int, ...]) -> Axes | None:
        given, axes = self._first(node), self._ints(node, 1, "axes")
        if given is None or axes is None:
            return None
        reduced = {number % len(given) for number in axes}
        if len(shape) == len(given):
            return tuple(Axis() if i in reduced else each for i, each in enumerate(given))
        return tuple(each for i, each in enumerate(given) if i not in reduced)

    def _transpose(self, node: NodeProto, shape: tuple[int, ...]) -> Axes | None:
        given = self._first(node)
        order = _attribute(node, "perm")
        return None if given is None else tuple(given[i] for i in order or reversed(range(len(given))))

    def _product(self, node: NodeProto, shape: tuple[int, ...]) -> Axes | None:
        """Layers make channels of channels; mixed along an axis of places, places stay places, but which is lost."""
        left, right = (self.axes.get(name) for name in node.input[:2])
        if left is not None and right is not None:
            stretched = self._stretched([left[:-2], right[:-2]], shape[:-2])
            return None if stretched is None else (*stretched, left[-2], right[-1])
        if _attribute(node, "transA"):
            return None
        if left is not None:
            return (*left[:-1], _mixed(left[-1], shape[-1])) if len(left) == len(shape) else None
        assert right is not None
        return (*right[:-2], _mixed(right[-2], shape[-2]), right[-1]) if len(right) == len(shape) else None

    def _concat(self, node: NodeProto, shape: tuple[int, ...]) -> Axes | None:
        parts = [self.axes.get(name) for name in node.input]
        known = [part for part in parts if part is not None]
        where = _attribute(node, "axis") % len(shape)
        joined = [part[where] for part in known]
        letters = {each.letter for each in joined if each.letter}
        if len(letters) > 1 and not letters <= PLACES:
            return None
        grids = [
            i for i, part in enumerate(parts) if part is not None and part[where].grid not in (None, (1, 1))
        ]
        rest = [self.shapes.get(name) for name in node.input]
        if len(grids) == 1 and len(node.input) > 1 and None not in rest and len(letters) == 1:
            each = joined[known.index(parts[grids[0]])]  # type: ignore[arg-type]
            before = sum(size[where] for size in rest[: grids[0]] if size)
            after = sum(size[where] for size in rest[grids[0] + 1 :] if size)
            along = Axis(each.atoms, each.before + before, each.after + after)
        else:
            along = axis(TOKENS if len(letters) > 1 else next(iter(letters), UNKNOWN), shape[where])
        others = self._stretched([(*part[:where], Axis(), *part[where + 1 :]) for part in known], shape)
        return None if others is None else (*others[:where], along, *others[where + 1 :])

    def _resize(self, node: NodeProto, shape: tuple[int, ...]) -> Axes | None:
        """The same axes, some of another length; backwards, or in pieces, their order is lost."""
        given = self._first(node)
        if given is None or len(given) != len(shape):
            return None
        if node.op_type == "Slice":
            starts, ends, steps = (
                self._ints(node, 1, "starts"),
                self._ints(node, 2, "ends"),
                self._ints(node, 4),
            )
            axes = self._ints(node, 3, "axes") or list(range(len(starts or ())))
            if starts is None or ends is None or any(step < 0 for step in steps or ()):
                return None
            bounds = dict(
                zip([number % len(given) for number in axes], zip(starts, ends, strict=True), strict=True)
            )
            return tuple(
                _sliced(each, size, *bounds[i]) if i in bounds else each
                for i, (each, size) in enumerate(zip(given, shape, strict=True))
            )
        return tuple(resized(each, size) for each, size in zip(given, shape, strict=True))

    def _gather(self, node: NodeProto, shape: tuple[int, ...]) -> Axes | None:
        given, indices = self._first(node), self.shapes.get(node.input[1])
        where = (_attribute(node, "axis") or 0) % len(given or (0,))
        if given is None or indices is None or node.input[1] in self.axes:
            return None
        numbers = self._ints(node, 1)
        ordered = numbers is not None and numbers == sorted(numbers)
        letter = given[where].letter
        along = [axis(letter if ordered or letter == CHANNELS else UNKNOWN, size) for size in indices]
        return (*given[:where], *along, *given[where + 1 :])

    def _einsum(self, node: NodeProto, shape: tuple[int, ...]) -> Axes | None:
        terms, arrow, result = _attribute(node, "equation").decode().replace(" ", "").partition("->")
        wide = "123456"  # an ellipsis stands for the same axes everywhere, counted from the last
        letters: dict[str, Axis] = {}
        for term, name in zip(terms.split(","), node.input, strict=True):
            axes = self.axes.get(name, ())
            term = _spread(term, wide, len(axes))
            for letter, each in zip(term, axes, strict=False):
                if each.size != 1 or letter not in letters:
                    letters[letter] = max((each, letters.get(letter, Axis())), key=_knowledge)
        result = _spread(result, wide, len(shape))
        if not arrow or len(result) != len(shape):
            return None
        return tuple(
            Axis() if size == 1 else letters.get(letter, axis(CHANNELS, size))
            for letter, size in zip(result, shape, strict=True)
        )

    def _attention(self, node: NodeProto, shape: tuple[int, ...]) -> Axes | None:
        given, values = self._first(node), self.axes.get(node.input[2])
        return None if given is None or values is None else (*given[:-1], values[-1])

    def _elementwise(self, node: NodeProto, shape: tuple[int, ...]) -> Axes | None:
        """What is of the shape to which its inputs stretch; other operators lose the meaning of the axes."""
        known = [self.axes[name] for name in node.input if name in self.axes]
        return self._stretched(known, shape)

    @staticmethod
    def _stretched(inputs: Sequence[Axes], shape: tuple[int, ...]) -> Axes | None:
        """Axis by axis the best known of the inputs that have this size; None where none has."""
        result = []
        for place in range(1, len(shape) + 1):
            size = shape[-place]
            fits = [axes[-place] for axes in inputs if len(axes) >= place and axes[-place].size == size]
            if size == 1:
                fits = [Axis()]
            elif not fits:
                fits = [axis(UNKNOWN, size)]
            result.append(max(fits, key=_knowledge))
        return tuple(reversed(result)) if any(len(axes) <= len(shape) for axes in inputs) else None


def _knowledge(each: Axis) -> int:
    """How much is known of an axis: that of a map is lost in layers that mix places, and kept beside them."""
    return 0 if each.letter in ("", UNKNOWN) else 2 if each.grid is not None or each.letter == CHANNELS else 1


def _mixed(old: Axis, size: int) -> Axis:
    if old.letter in PLACES:
        return axis(TOKENS, size)
    return axis(CHANNELS, size)


def _sliced(old: Axis, size: int, start: int, end: int) -> Axis:
    """A part of an axis: the places without the tokens beside them, those alone, or fewer of the same."""
    if size == old.size:
        return old
    start = start + old.size if start < 0 else start
    if (old.before or old.after) and start == old.before and size == old.size - old.before - old.after:
        return Axis(old.atoms)
    return axis(old.letter or UNKNOWN, size)


def _spread(term: str, wide: str, rank: int) -> str:
    """A term of an Einsum with letters in place of its ellipsis."""
    missing = rank - len(term.replace("...", ""))
    return term.replace("...", wide[len(wide) - missing :] if missing > 0 else "")


def _attribute(node: NodeProto, name: str) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), None)
