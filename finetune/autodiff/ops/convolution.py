"""Convolution of images (N, C, H, W) with weights (out, in / groups, height, width).

`conv2d` is linear in the image and in the weights, and so are its two gradients; the gradients of all three are
made of the same three operations, at any order.
"""

from __future__ import annotations

from dataclasses import replace

from finetune.autodiff.emitter import Emitter
from finetune.autodiff.graph import Operation
from finetune.autodiff.ops.rules import INT64, require_one_dtype, require_real, what
from finetune.autodiff.ops.windows import Padding, Pair, Windows, windows
from finetune.autodiff.registry import Spec, register_op
from finetune.autodiff.shapes import known, show
from finetune.autodiff.tensor import Tensor, apply
from models.errors import ShapeError


def _conv_shape(op: Operation) -> list[Spec]:
    x, w = op.inputs
    require_real(op, x, w)
    require_one_dtype(op, op.inputs)
    groups = op.attrs["groups"]
    out, part, *_ = known(what(op), w.shape)
    if x.shape[1] != part * groups or out % groups:
        raise ShapeError(
            f"{what(op)}: images {show(x.shape)} and weights {show(w.shape)} in {groups} groups do not fit: expected "
            f"{part} x {groups} = {part * groups} channels, and a number of filters that {groups} divides."
        )
    return [Spec((x.shape[0], out, *op.attrs["windows"].output), x.dtype)]


def _conv_lower(emit: Emitter, op: Operation, x: str, w: str) -> str:
    return emit.node("Conv", [x, w], group=op.attrs["groups"], **op.attrs["windows"].onnx())


register_op(
    "conv2d",
    shape=_conv_shape,
    lower=_conv_lower,
    gradient=(
        lambda op, g: apply("conv2d_input_gradient", [op.inputs[1], g], **op.attrs),
        lambda op, g: apply("conv2d_weight_gradient", [op.inputs[0], g], **op.attrs),
    ),
)


def _input_gradient_shape(op: Operation) -> list[Spec]:
    w, g = op.inputs
    part = known(what(op), w.shape)[1]
    return [Spec((g.shape[0], part * op.attrs["groups"], *op.attrs["windows"].image), g.dtype)]


def _input_gradient_lower(emit: Emitter, op: Operation, w: str, g: str) -> str:
    at: Windows = op.attrs["windows"]
    return emit.node("ConvTranspose", [g, w], group=op.attrs["groups"], output_padding=at.rest, **at.onnx())


register_op(
    "conv2d_input_gradient",
    shape=_input_gradient_shape,
    lower=_input_gradient_lower,
    gradient=(
        lambda op, c: apply("conv2d_weight_gradient", [c, op.inputs[1]], **op.attrs),
        lambda op, c: apply("conv2d", [c, op.inputs[0]], **op.attrs),
    ),
)


def _weight_gradient_shape(op: Operation) -> list[Spec]:
    x, g = op.inputs
    channels, out = known(what(op), [x.shape[1], g.shape[1]])
    return [Spec((out, channels // op.attrs["groups"], *op.attrs["windows"].kernel), x.dtype)]


def _weight_gradient_lower(emit: Emitter, op: Operation, x: str, g: str) -> str:
    """A convolution of the images with the gradients as weights: batch and channels change places, and so do
    strides and dilations."""
    emit.needs_batch = True  # the batch becomes channels, and no Conv has 0 of them
    at, groups = op.attrs["windows"], op.attrs["groups"]
    channels = known(what(op), op.inputs[0].shape[1:2])[0]
    part = channels // groups
    if groups > 1:
        x = emit.node("Reshape", [x, emit.constant([-1, groups, part, *at.image])])
        x = emit.node("Transpose", [x], perm=[2, 1, 0, 3, 4])  # (C/G, G, N, H, W)
        x = emit.node("Reshape", [x, emit.constant([part, -1, *at.image])])
    else:
        x = emit.node("Transpose", [x], perm=[1, 0, 2, 3])  # (C, N, H, W)
    g = emit.node("Transpose", [g], perm=[1, 0, 2, 3])  # (O, N, OH, OW)
    swapped = replace(at, kernel=at.output, strides=at.dilations, dilations=at.strides)
    result = emit.node("Conv", [x, g], group=groups, **swapped.onnx())  # (C/G, O, >= KH, >= KW)
    if swapped.output != at.kernel:
        bounds = [emit.constant(v, INT64) for v in ([0, 0], at.kernel, [2, 3])]
        result = emit.node("Slice", [result, *bounds])
    return emit.node("Transpose", [result], perm=[1, 0, 2, 3])


register_op(
    "conv2d_weight_gradient",
    shape=_weight_gradient_shape,
    lower=_weight_gradient_lower,
    gradient=(
        lambda op, c: apply("conv2d_input_gradient", [c, op.inputs[1]], **op.attrs),
        lambda op, c: apply("conv2d", [op.inputs[0], c], **op.attrs),
    ),
)


def conv2d(
    x: Tensor,
    w: Tensor,
    strides: int | Pair = 1,
    padding: Padding = "SAME",
    dilations: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    """(N, C, H, W) images and (F, C / groups, KH, KW) weights -> (N, F, OH, OW).

    `padding`: see `windows.windows`. `groups` = C is a depthwise convolution. A correlation, as everywhere in this
    field: the weights are not flipped.

    Raises:
        ShapeError: channels do not fit, or the window does not fit into the image.
    """
    if w.rank != 4:
        raise ShapeError(f"conv2d: expected weights (F, C / groups, KH, KW), {w.name} is {show(w.shape)}.")
    kernel = known("conv2d", w.shape[2:])
    at = windows("conv2d", x.shape, (kernel[0], kernel[1]), strides, padding, dilations)
    return apply("conv2d", [x, w], windows=at, groups=groups)
