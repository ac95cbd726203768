"""Pooling of images (N, C, H, W): the maximum or the mean of windows, or of whole images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from finetune.autodiff.emitter import Emitter
from finetune.autodiff.graph import Operation
from finetune.autodiff.ops.reductions import reduce_mean
from finetune.autodiff.ops.rules import INT64, require_real, what
from finetune.autodiff.ops.windows import Padding, Pair, Windows, pair, windows
from finetune.autodiff.registry import Spec, register_op
from finetune.autodiff.shapes import Shape, known
from finetune.autodiff.tensor import Tensor, apply
from models.errors import ShapeError


def _pooled(op: Operation) -> Shape:
    require_real(op, op.inputs[0])
    return (*op.inputs[0].shape[:2], *op.attrs["windows"].output)


register_op(
    "max_pool",
    shape=lambda op: [Spec(_pooled(op), op.inputs[0].dtype), Spec(_pooled(op), INT64)],
    lower=lambda emit, op, x: emit.nodes_of("MaxPool", [x], 2, **op.attrs["windows"].onnx()),
    # ONNX's indices are positions in the flattened images; of equal maxima the first one gets the gradient.
    gradient=lambda op, g, _: apply("pool_scatter", [g, op.outputs[1], op.inputs[0]]),
)


def _pool_scatter_lower(emit: Emitter, op: Operation, g: str, places: str, x: str) -> str:
    flat, sizes = emit.constant([-1]), emit.node("Shape", [x])
    zeros = emit.node(
        "Expand", [emit.real(0), emit.node("Reshape", [emit.node("Size", [x]), emit.constant([1])])]
    )
    g, places = emit.node("Reshape", [g, flat]), emit.node("Reshape", [places, flat])
    result = emit.node("ScatterElements", [zeros, places, g], reduction="add")
    return emit.node("Reshape", [result, sizes], allowzero=1)


register_op(
    "pool_scatter",
    shape=lambda op: [Spec(op.inputs[2].shape, op.inputs[0].dtype)],
    lower=_pool_scatter_lower,
    gradient=(lambda op, c: apply("pool_gather", [c, op.inputs[1]]), None, None),
)
register_op(
    "pool_gather",
    shape=lambda op: [Spec(op.inputs[1].shape, op.inputs[0].dtype)],
    lower=lambda emit, op, c, at: emit.node("Gather", [emit.node("Reshape", [c, emit.constant([-1])]), at]),
    gradient=(lambda op, g: apply("pool_scatter", [g, op.inputs[1], op.inputs[0]]), None),
)


def max_pool(
    x: Tensor, window: int | Pair, strides: int | Pair | None = None, padding: Padding = "VALID"
) -> Tensor:
    """The largest element of each window, (N, C, OH, OW); `strides`: as large as the window by default.

    Of equal maxima the first gets the gradient. Padding counts as minus infinity.

    Raises:
        ShapeError: the window does not fit into the image, or lies in the padding as a whole.
    """
    kernel = pair("max_pool", "window", window)
    at = windows("max_pool", x.shape, kernel, kernel if strides is None else strides, padding)
    _require_overlap("max_pool", at)
    return apply("max_pool", [x], windows=at)


def _avg_pool_lower(emit: Emitter, op: Operation, x: str) -> str:
    attrs = op.attrs["windows"].onnx()
    del attrs["dilations"]
    return emit.node("AveragePool", [x], count_include_pad=int(op.attrs["include_padding"]), **attrs)


register_op(
    "avg_pool",
    shape=lambda op: [Spec(_pooled(op), op.inputs[0].dtype)],
    lower=_avg_pool_lower,
    gradient=lambda op, g: apply("avg_pool_gradient", [g], **op.attrs),
)


def window_counts(at: Windows, include_padding: bool) -> NDArray[np.float64]:
    """(OH, OW): over how many pixels each window takes the mean."""
    if include_padding:
        return np.full(at.output, float(at.kernel[0] * at.kernel[1]))
    rows, columns = (np.array([len(p) for p in window_pixels(at, axis)], float) for axis in (0, 1))
    return np.outer(rows, columns)


def window_pixels(at: Windows, axis: int) -> list[list[int]]:
    """For each window position along `axis` (0 down, 1 across): the pixels of the image under it."""
    starts = (i * at.strides[axis] - at.before[axis] for i in range(at.output[axis]))
    steps = [k * at.dilations[axis] for k in range(at.kernel[axis])]
    return [[start + step for step in steps if 0 <= start + step < at.image[axis]] for start in starts]


def _avg_pool_gradient_lower(emit: Emitter, op: Operation, g: str) -> str:
    """Each window gives its gradient, divided by its number of pixels, to all of them."""
    at: Windows = op.attrs["windows"]
    channels = known(what(op), op.inputs[0].shape[1:2])[0]
    share = emit.node("Mul", [g, emit.real(1.0 / window_counts(at, op.attrs["include_padding"]))])
    share = emit.node("Reshape", [share, emit.constant([-1, 1, *at.output])])
    ones = emit.real(np.ones((1, 1, *at.kernel)))
    spread = emit.node("ConvTranspose", [share, ones], output_padding=at.rest, **at.onnx())
    return emit.node("Reshape", [spread, emit.constant([-1, channels, *at.image])])


register_op(
    "avg_pool_gradient",
    shape=lambda op: [Spec((*op.inputs[0].shape[:2], *op.attrs["windows"].image), op.inputs[0].dtype)],
    lower=_avg_pool_gradient_lower,
    gradient=lambda op, c: apply("avg_pool", [c], **op.attrs),
)


def avg_pool(
    x: Tensor,
    window: int | Pair,
    strides: int | Pair | None = None,
    padding: Padding = "VALID",
    include_padding: bool = False,
) -> Tensor:
    """The mean of each window, (N, C, OH, OW); `strides`: as large as the window by default.

    Padding does not count, as in TensorFlow, unless `include_padding` (PyTorch's default).

    Raises:
        ShapeError: the window does not fit into the image, or lies in the padding as a whole.
    """
    kernel = pair("avg_pool", "window", window)
    at = windows("avg_pool", x.shape, kernel, kernel if strides is None else strides, padding)
    _require_overlap("avg_pool", at)
    return apply("avg_pool", [x], windows=at, include_padding=include_padding)


def global_avg_pool(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C): the mean of each map."""
    return reduce_mean(x, (2, 3))


def _require_overlap(name: str, at: Windows) -> None:
    if any(pad >= k for pads in (at.before, at.after) for pad, k in zip(pads, at.kernel, strict=True)):
        raise ShapeError(
            f"{name}: padding {at.before}, {at.after} is not smaller than the window {at.kernel}."
        )
