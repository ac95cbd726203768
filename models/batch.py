"""Frees the batch of a network that was exported for a fixed one, and proves that it computes the same.

Exporters write the batch into the sizes to which tensors are reshaped and stretched. Where the batch stands in each
tensor is followed through the graph, its places in those sizes are opened, and the result has to give several images
together what the file gives each of them.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from models.card import MAX_BATCH
from models.errors import GraftError
from models.graph import copied, element_type, opset_of, prune, shape_of, varying
from models.nodes import Nodes
from models.runtime import Array, RuntimeConfig
from models.serialized import session_of
from models.sizes import Shapes, sizes_of

_CPU = RuntimeConfig(device="cpu")
_SAME = 1e-3  # of the largest value, by which an image's row may differ
_SAME_HALF = 2e-2  # where the network computes in half precision


def free_batch(model: ModelProto, image: tuple[int, ...]) -> int | None:
    """Let the batch of a network vary, whose one input takes images of the shape `image`, such as (3, 224, 224).

    Sizes that it computes while it runs become constants, where that is proven too. Where it bears no other batch, it
    stays as it is, and its fixed batch size is returned.
    """
    declared = shape_of(model.graph.input[0])[0]
    fixed = max(declared, 1)
    if fixed > MAX_BATCH:
        return fixed
    original = copied(model) if declared > 0 else _with_batch(model, fixed)
    for dim, size in zip(original.graph.input[0].type.tensor_type.shape.dim, (fixed, *image), strict=True):
        dim.dim_value = size
    images = _images(model, (fixed + 1, *image))
    try:
        session = session_of(original, _CPU, quiet=True)
        name = next(iter(session.inputs))
        ends = (session.run({name: part}) for part in (images[:fixed], images[1:]))
        expected = [
            np.concatenate([first, last[-1:]]) if _has_rows(first) and _has_rows(last) else None
            for first, last in zip(*ends, strict=True)
        ]
    except GraftError:  # the caller runs it too, and says what is wrong
        return declared if declared > 0 else None
    free = _with_batch(model, "N")
    # Sizes that are computed in each run are better computed once.
    computes = any(node.op_type == "Shape" for node in model.graph.node)
    for opened in (computes, not computes):
        trial = _opened(free, original, fixed) if opened else free
        if _gives(trial, images, expected):
            model.CopyFrom(trial)
            return None
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = fixed
    return fixed


def _with_batch(model: ModelProto, batch: int | str) -> ModelProto:
    """A copy that declares another batch."""
    trial = copied(model)
    for value in (*trial.graph.input, *trial.graph.output):
        if value.type.tensor_type.shape.dim:
            first = value.type.tensor_type.shape.dim[0]
            first.CopyFrom(type(first)(**{"dim_value" if isinstance(batch, int) else "dim_param": batch}))
    del trial.graph.value_info[:]
    return trial


def _images(model: ModelProto, shape: tuple[int, ...]) -> Array:
    dtype = helper.tensor_dtype_to_np_dtype(element_type(model.graph.input[0]))
    rng = np.random.default_rng(0)
    if dtype.kind != "f":
        return rng.integers(0, 256, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def _has_rows(result: object) -> bool:
    return isinstance(result, np.ndarray) and result.ndim > 0


def _gives(model: ModelProto, images: Array, expected: Sequence[Array | None]) -> bool:
    """Whether the network gives for all images together what is expected of each."""
    half = any(w.data_type == TensorProto.FLOAT16 for w in model.graph.initializer)
    results: list[Array] = []
    with contextlib.suppress(GraftError):
        session = session_of(model, _CPU, quiet=True)
        results = session.run({next(iter(session.inputs)): images})
    if len(results) != len(expected):
        return False
    for got, want in zip(results, expected, strict=True):
        if want is None:
            continue
        if got.shape != want.shape:
            return False
        if want.dtype.kind == "f":
            room = (_SAME_HALF if half else _SAME) * float(np.abs(want, dtype=np.float64).max(initial=0.0))
            if not np.allclose(got, want, rtol=0, atol=max(room, 1e-12), equal_nan=True):
                return False
    return True


def _opened(free: ModelProto, original: ModelProto, fixed: int) -> ModelProto:
    """`free` with the batch open in the sizes that its nodes read; shapes are those of `original`."""
    opened = copied(free)
    _Opener(opened, sizes_of(original).shapes, fixed).open()
    prune(opened.graph, [value.name for value in opened.graph.output])
    return opened


class _Opener:
    """Follows the axis of the batch through a graph. `shapes`: of its tensors for `fixed` images."""

    def __init__(self, model: ModelProto, shapes: Shapes, fixed: int) -> None:
        self.graph, self.shapes, self.fixed, self.opset = model.graph, shapes, fixed, opset_of(model)
        self.constants = {value.name: value for value in self.graph.initializer}
        self.places = {value.name: 0 for value in self.graph.input}
        self.made: list[NodeProto] = []

    def open(self) -> None:
        """Rewrite the nodes that read a size with the batch in it."""
        depends = varying(self.graph)
        for node in list(self.graph.node):  # in topological order, as ONNX demands
            if any(name in depends for name in node.output):
                self._follow(node, depends)
            self.made.append(node)
        del self.graph.node[:]
        self.graph.node.extend(self.made)

    def _follow(self, node: NodeProto, depends: set[str]) -> None:
        source = next((name for name in node.input if name in self.places), None)
        shape = self.shapes.get(node.output[0])
        if source is None or shape is None or source not in self.shapes:
            self.places.update(dict.fromkeys(node.output, 0))
            return
        place = self._place(node, source, self.shapes[source], shape)
        self.places.update(dict.fromkeys(node.output, place))
        if not 0 <= place < max(len(shape), 1):
            return
        if node.op_type == "Reshape" and node.input[1] not in depends:
            sizes = [-1 if i == place else size for i, size in enumerate(shape)]
            node.input[1] = self._sizes(f"{node.output[0]}/sizes", sizes)
        elif node.op_type == "Expand" and node.input[1] not in depends and node.input[0] in depends:
            kept = [1 if i == place else size for i, size in enumerate(shape)]
            node.input[1] = self._sizes(f"{node.output[0]}/sizes", kept)
        elif node.op_type == "Resize" and len(node.input) > 3 and node.input[3]:
            axes = [i for i in range(len(shape)) if i != place]
            if not any(attribute.name == "axes" for attribute in node.attribute) and self.opset >= 18:
                node.attribute.append(helper.make_attribute("axes", axes))
                node.input[3] = self._sizes(f"{node.output[0]}/sizes", [shape[i] for i in axes])
        elif node.op_type == "Concat" and self.opset >= 15:
            self._repeat(node, place, source)
        elif node.op_type == "Gather" and len(self.shapes[source]) == 1 and node.input[0] == source:
            self._pick_by_row(node, source)

    def _place(self, node: NodeProto, source: str, before: tuple[int, ...], after: tuple[int, ...]) -> int:
        """The axis of the batch in what the node makes."""
        place = self.places[source]
        options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Transpose":
            order = [int(axis) for axis in options.get("perm") or reversed(range(len(before)))]
            return order.index(place) if place in order else 0
        if node.op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
            outside = math.prod(before[:place])
            fits = (i for i in range(len(after)) if math.prod(after[:i]) == outside)
            return next(fits, 0)
        if node.op_type == "Gather" and len(before) != len(after):
            gone = int(options.get("axis", 0)) % len(before)
            return place - (gone < place) * (len(before) - len(after))
        if node.op_type == "Einsum":
            terms, _, result = options["equation"].decode().replace(" ", "").partition("->")
            term = terms.split(",")[list(node.input).index(source)]
            return max(int(result.find(term[place])), 0) if place < len(term) else 0
        if node.op_type.startswith("Reduce") and len(before) != len(after):
            axes = options.get("axes") or self._values(node.input[1] if len(node.input) > 1 else "")
            return place - sum(int(axis) % len(before) < place for axis in axes)
        # Others keep their axes; inputs of fewer axes are stretched at the front.
        return place + max(len(after) - len(before), 0)

    def _repeat(self, node: NodeProto, place: int, source: str) -> None:
        """Stretch what is joined with rows of images, such as a class token, to as many."""
        for i, name in enumerate(node.input):
            shape = self.shapes.get(name)
            if name in self.places or shape is None or place >= len(shape) or shape[place] != self.fixed:
                continue
            nodes = Nodes(f"{node.output[0]}/{i}/")
            sizes = [
                nodes.constant("before", shape[:place], np.int64),
                nodes.add("Shape", source, start=place, end=place + 1),
                nodes.constant("after", shape[place + 1 :], np.int64),
            ]
            one = name
            if self.fixed > 1:  # the rows are copies, or the proof fails
                bounds = [nodes.constant(str(n), [n], np.int64) for n in (0, 1)]
                one = nodes.add("Slice", name, *bounds, nodes.constant("axis", [place], np.int64))
            node.input[i] = nodes.add("Expand", one, nodes.add("Concat", *sizes, axis=0))
            self.made.extend(nodes.nodes)
            self.graph.initializer.extend(nodes.weights)

    def _pick_by_row(self, node: NodeProto, source: str) -> None:
        """Let what is picked out of all values, in one row, be picked out of each image's: PyTorch's `as_strided`."""
        indices = self.constants.get(node.input[1])
        count = self.shapes[source][0] // self.fixed
        picked = None if indices is None else numpy_helper.to_array(indices)
        if picked is None or picked.ndim < 2 or len(picked) != self.fixed:
            return
        steps = np.arange(self.fixed).reshape(-1, *[1] * (picked.ndim - 1)) * count
        if not np.array_equal(picked, picked[:1] + steps):
            return
        name = node.output[0]
        rows = helper.make_node(
            "Reshape", [source, self._sizes(f"{name}/rows", [-1, count])], [f"{name}/row"]
        )
        self.made.append(rows)
        self.graph.initializer.append(numpy_helper.from_array(picked[0], f"{name}/places"))
        node.input[:] = [rows.output[0], f"{name}/places"]
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("axis", 1))

    def _sizes(self, name: str, sizes: Sequence[int]) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), name))
        return name

    def _values(self, name: str) -> list[int]:
        value = self.constants.get(name)
        return [] if value is None else [int(number) for number in numpy_helper.to_array(value).ravel()]
