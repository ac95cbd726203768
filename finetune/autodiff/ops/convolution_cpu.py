"""Convolution on the CPU as matrix products over pixels.

onnxruntime packs the weights of a Conv when a model is loaded. Weights that change in each step are fed, cannot be
packed, and Conv runs at less than half its speed; a matrix product does not. So images are kept as N, H, W, C, the
pixels under each window are laid side by side in a row of `columns`, once for the result and the gradient of the
weights, and

    result           = columns(images)    @ weights^T       (windows, KH KW C) @ (KH KW C, F)
    weight gradient  = gradient^T         @ columns(images) (F, windows) @ (windows, KH KW C)
    input gradient   = columns(gradient)  @ flipped weights, for each residue of the position modulo the strides

Images of one to three channels have too little in a pixel to copy it by itself. Their columns are laid out the other
way round, (KH KW C, windows), from slices of whole rows, and the products take them transposed. A step of the small
CNN in `benchmarks` takes a tenth less time than with Conv there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from finetune.autodiff.emitter import Emitter, register_lowering
from finetune.autodiff.graph import Operation
from finetune.autodiff.ops import winograd_cpu
from finetune.autodiff.ops.rules import INT64, what
from finetune.autodiff.ops.windows import Pair, Windows
from finetune.autodiff.shapes import known
from finetune.autodiff.tensor import Tensor, Variable

NHWC = (0, 2, 3, 1)
OHWI = (0, 2, 3, 1)
_BEFORE_ALL = -(2**62)  # where a slice that runs backwards ends when it goes all the way
CNHW = (1, 0, 2, 3)
FEW = 4  # channels: with fewer, columns are laid out by slices
GROWTH = 2  # with few channels: columns are at most so many times as large as the result


def suits(op: Operation, channels: int | None) -> bool:
    """Whether a convolution of that many channels is done as a matrix product over columns of pixels."""
    return bool(op.attrs["groups"] == 1 and channels is not None and channels >= FEW)


def tiled(op: Operation, channels: int | None, filters: int | None) -> bool:
    """Whether one with that many channels and filters is done over tiles."""
    return bool(op.attrs["groups"] == 1 and winograd_cpu.suits(op.attrs["windows"], channels, filters))


def suits_slices(op: Operation, channels: int | None, filters: int | None) -> bool:
    """Whether one with that few channels is done over columns of slices."""
    if op.attrs["groups"] > 1 or channels is None or filters is None or channels >= FEW:
        return False
    return bool(math.prod(op.attrs["windows"].kernel) * channels <= GROWTH * filters)


@register_lowering("conv2d", "cpu")
def _conv(emit: Emitter, op: Operation) -> bool:
    x, w = op.inputs
    at: Windows = op.attrs["windows"]
    if w in emit.frozen:
        return False
    if tiled(op, x.shape[1], w.shape[0]):
        emit.memo["tiled", op.output] = winograd_cpu.result(emit, x, w, at)
        emit.bind(op.output, emit.memo["tiled", op.output], NHWC)
        return True
    if suits(op, x.shape[1]):
        result = emit.node("Gemm", [columns(emit, x, at), _filters(emit, w)], transB=1)
    elif suits_slices(op, x.shape[1], w.shape[0]):
        result = emit.node("Gemm", [slices(emit, x, at), _filters(emit, w)], transA=1, transB=1)
    else:
        return False
    emit.memo["product", op.output] = emit.nodes[-1]
    emit.bind(op.output, _images(emit, result, at.output, w.shape[0]), NHWC)
    return True


@register_lowering("add", "cpu")
def _bias(emit: Emitter, op: Operation) -> bool:
    """A bias that is added to a convolution, and to nothing else, is added by the matrix product."""
    conv, bias = op.inputs
    node, tiles = (emit.memo.get((kind, conv)) for kind in ("product", "tiled"))
    if (
        (node is None and tiles is None)
        or emit.uses[conv] > 1
        or bias.op.type != "reshape"
        or bias.shape != (conv.shape[1], 1, 1)
    ):
        return False
    vector = bias.op.inputs[0]
    # A variable is there before the product is computed.
    if not isinstance(vector, Variable) or vector.rank != 1:
        return False
    if node is None:
        emit.bind(op.output, emit.node("Add", [str(tiles), emit.read(vector)]), NHWC)
        return True
    node.input.append(emit.read(vector))
    emit.bind(op.output, emit.read(conv, NHWC), NHWC)
    return True


@register_lowering("conv2d_weight_gradient", "cpu")
def _weight_gradient(emit: Emitter, op: Operation) -> bool:
    x, g = op.inputs
    at: Windows = op.attrs["windows"]
    channels, filters = known(what(op), (x.shape[1], g.shape[1]))
    if tiled(op, channels, filters):
        emit.bind(op.output, winograd_cpu.weight_gradient(emit, x, g, at), OHWI)
        return True
    if suits(op, channels):
        # The gradient is the narrower of the two to transpose: a tenth faster than columns^T @ gradient.
        result = emit.node(
            "Gemm", [_matrix(emit, emit.read(g, NHWC), filters), columns(emit, x, at)], transA=1
        )
    elif suits_slices(op, channels, filters):
        product = emit.node("Gemm", [slices(emit, x, at), _matrix(emit, emit.read(g, NHWC), filters)])
        result = emit.node("Transpose", [product], perm=[1, 0])
    else:
        return False
    emit.bind(op.output, emit.node("Reshape", [result, emit.constant([filters, *at.kernel, channels])]), OHWI)
    return True


@register_lowering("conv2d_input_gradient", "cpu")
def _input_gradient(emit: Emitter, op: Operation) -> bool:
    w, g = op.inputs
    at: Windows = op.attrs["windows"]
    phases = [[_phase(at, axis, rest) for rest in range(at.strides[axis])] for axis in (0, 1)]
    mixed = any(s > 1 and d > 1 for s, d in zip(at.strides, at.dilations, strict=True))
    if (
        mixed
        or not suits(op, op.output.shape[1])
        or any(phase.taps == 0 for axis in phases for phase in axis)
    ):
        return False
    channels, sizes = known(what(op), w.shape[1:2])[0], [axis[0].size for axis in phases]
    if at.strides == (1, 1) and op.attrs["groups"] == 1:
        over = _windows(at, *(axis[0] for axis in phases))
        if winograd_cpu.suits(over, w.shape[0], channels):
            emit.bind(op.output, winograd_cpu.result(emit, g, w, over, swapped=True), NHWC)
            return True
    parts = []
    for down, across in product(*phases):
        rows = columns(emit, g, _windows(at, down, across))
        if at.kernel == (1, 1):
            parts.append(emit.node("Gemm", [rows, _filters(emit, w)]))
        else:
            weights = _flipped(emit, emit.read(w, OHWI), down, across)
            parts.append(emit.node("Gemm", [rows, _matrix(emit, weights, channels)]))
    emit.bind(op.output, _interleave(emit, parts, at, sizes, channels), NHWC)
    return True


@dataclass(frozen=True)
class _Phase:
    """Along one axis, the pixels i = stride q + rest of an image: there are `size` such q, the last perhaps outside.

    Pixel i is met by window o with weight k where stride o + dilation k = i + padding. For stride > 1 these are the
    `taps` weights k = first + step j, at o = q + shift - j; for stride 1 all weights, at o = q + shift - dilation j.
    """

    size: int
    first: int
    step: int
    taps: int
    shift: int
    dilation: int


def _phase(at: Windows, axis: int, rest: int) -> _Phase:
    stride, padding, kernel = at.strides[axis], at.before[axis], at.kernel[axis]
    shift, first = divmod(rest + padding, stride)
    taps = len(range(first, kernel, stride))
    return _Phase(-(-at.image[axis] // stride), first, stride, taps, shift, at.dilations[axis])


def _windows(at: Windows, *phases: _Phase) -> Windows:
    """The windows over the gradient: over o = q + shift - dilation (taps - 1), ..., q + shift."""
    spans = [(p.taps - 1) * p.dilation for p in phases]
    before = [span - p.shift for span, p in zip(spans, phases, strict=True)]
    after = [p.size + p.shift - n for p, n in zip(phases, at.output, strict=True)]
    kernel, dilations = [p.taps for p in phases], [p.dilation for p in phases]
    return Windows(at.output, _pair(kernel), (1, 1), _pair(dilations), _pair(before), _pair(after))


def _pair(values: Sequence[int]) -> Pair:
    return values[0], values[1]


def _filters(emit: Emitter, w: Tensor) -> str:
    """Weights as (O, KH KW I)."""
    out, *rest = known(w.name, w.shape)
    return emit.node("Reshape", [emit.read(w, OHWI), emit.constant([out, math.prod(rest)], INT64)])


def _flipped(emit: Emitter, weights: str, *phases: _Phase) -> str:
    """(O, KH, KW, I) weights -> (taps, taps, O, I), those of the phases, last first."""
    last = [p.first + p.step * (p.taps - 1) for p in phases]
    stop = [p.first - 1 if p.first else _BEFORE_ALL for p in phases]
    bounds = [emit.constant(v, INT64) for v in (last, stop, [1, 2], [-p.step for p in phases])]
    return emit.node("Transpose", [emit.node("Slice", [weights, *bounds])], perm=[1, 2, 0, 3])


def _interleave(emit: Emitter, parts: Sequence[str], at: Windows, sizes: Sequence[int], channels: int) -> str:
    """Rows of pixels, one tensor for each phase, as images (N, H, W, C)."""
    (high, wide), (down, across) = sizes, at.strides
    parts = [_images(emit, part, (high, wide), channels) for part in parts]
    if across > 1:
        rows = [parts[i : i + across] for i in range(0, len(parts), across)]
        parts = [_woven(emit, row, 3, (high, wide * across, channels)) for row in rows]
    result = _woven(emit, parts, 2, (high * down, wide * across, channels)) if down > 1 else parts[0]
    if (high * down, wide * across) == at.image:
        return result
    return emit.node("Slice", [result, *(emit.constant(v, INT64) for v in ([0, 0], at.image, [1, 2]))])


def _woven(emit: Emitter, parts: Sequence[str], axis: int, shape: Sequence[int]) -> str:
    """Tensors put side by side on a new `axis`, which then becomes one with the axis before it."""
    place = emit.constant([axis], INT64)
    wide = [emit.node("Unsqueeze", [part, place]) for part in parts]
    return emit.node("Reshape", [emit.node("Concat", wide, axis=axis), emit.constant([-1, *shape], INT64)])


def columns(emit: Emitter, x: Tensor, at: Windows) -> str:
    """(N OH OW, KH KW C): a row for each window, with the pixels under it one behind the other."""
    key = ("columns", x, at)
    if key not in emit.memo:
        channels = x.shape[1]
        pads = [max(pad, 0) for pad in (*at.before, *at.after)]
        name = emit.read(x, NHWC)
        if any(pads):
            name = emit.node("Pad", [name, emit.constant([0, *pads[:2], 0, 0, *pads[2:], 0], INT64)])
        if at.kernel == at.strides == (1, 1) and at.before == at.after == (0, 0):
            emit.memo[key] = _matrix(emit, name, channels)
        else:
            size = [at.image[i] + pads[i] + pads[i + 2] for i in (0, 1)]
            down, across = (_reach(at, axis) for axis in (0, 1))  # (windows, taps)
            # one constant index for each (row, column, tap down, tap across): a copy of each pixel, and no more
            places = down[:, None, :, None] * size[1] + across[None, :, None, :]
            flat = emit.node("Reshape", [name, emit.constant([-1, size[0] * size[1], channels], INT64)])
            name = emit.node("Gather", [flat, emit.constant(places.reshape(-1), INT64)], axis=1)
            emit.memo[key] = _matrix(emit, name, at.kernel[0] * at.kernel[1] * (channels or 0))
    return str(emit.memo[key])


def slices(emit: Emitter, x: Tensor, at: Windows) -> str:
    """(KH KW C, N OH OW): a row for each pixel of the window, with what all windows have there."""
    key = ("slices", x, at)
    if key not in emit.memo:
        name = emit.read(x, CNHW)
        if any((*at.before, *at.after)):
            name = emit.node("Pad", [name, emit.constant([0, 0, *at.before, 0, 0, *at.after], INT64)])
        for axis in (1, 0):  # across, then down: (KW C, N, H, OW), then (KH KW C, N, OH, OW)
            span = (at.output[axis] - 1) * at.strides[axis] + 1
            starts = [tap * at.dilations[axis] for tap in range(at.kernel[axis])]
            bounds = [([start], [start + span], [axis + 2], [at.strides[axis]]) for start in starts]
            parts = [emit.node("Slice", [name, *(emit.constant(v, INT64) for v in b)]) for b in bounds]
            name = emit.node("Concat", parts, axis=0)
        rows = math.prod(at.kernel) * (x.shape[1] or 0)
        emit.memo[key] = emit.node("Reshape", [name, emit.constant([rows, -1], INT64)])
    return str(emit.memo[key])


def _reach(at: Windows, axis: int) -> NDArray[np.int64]:
    """(windows, taps) along `axis`: the padded image's pixel under each tap of each window."""
    start = max(-at.before[axis], 0)
    windows = np.arange(at.output[axis]) * at.strides[axis]
    return start + windows[:, None] + np.arange(at.kernel[axis]) * at.dilations[axis]


def _matrix(emit: Emitter, x: str, width: int | None) -> str:
    """Any tensor as rows of `width`."""
    return emit.node("Reshape", [x, emit.constant([-1, width], INT64)])


def _images(emit: Emitter, rows: str, size: Pair, channels: int | None) -> str:
    """Rows of pixels as (N, H, W, C)."""
    return emit.node("Reshape", [rows, emit.constant([-1, *size, channels], INT64)])
