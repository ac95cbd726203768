"""Rules for what slides a window over images (N, C, H, W): convolution and pooling."""

from __future__ import annotations

from finetune.autodiff.importing.node import Node
from finetune.autodiff.ops import convolution, pooling
from finetune.autodiff.ops.windows import Pads, Pair, same_padding
from finetune.autodiff.shapes import known, show
from finetune.autodiff.tensor import Tensor
from models.errors import GraphError


def conv(node: Node, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """Conv in two dimensions; `w` is (F, C / groups, KH, KW), as in the graph."""
    if x.rank != 4:
        raise GraphError(
            f"{node}: its input is {show(x.shape)}; only images (N, C, H, W) are convolved here."
        )
    height, width = known(str(node), w.shape[2:])
    strides, dilations = _pair(node, "strides"), _pair(node, "dilations")
    pads = _pads(node, x, (height, width), strides, dilations)
    y = convolution.conv2d(x, w, strides, pads, dilations, node.get("group", 1))
    return y if bias is None else y + bias.reshape(-1, 1, 1)


def max_pool(node: Node, x: Tensor) -> Tensor:
    """MaxPool, without its positions."""
    kernel, strides, pads = _pooling(node, x)
    return pooling.max_pool(x, kernel, strides, pads)


def average_pool(node: Node, x: Tensor) -> Tensor:
    """AveragePool. Windows that `ceil_mode` adds count the pixels of the image, which padding they hold or not."""
    include = bool(node.get("count_include_pad", 0))
    if include and node.get("ceil_mode", 0) and _pooling(node, x)[2] != _declared_pads(node):
        raise GraphError(
            f"{node}: ceil_mode with count_include_pad is not supported; export it with one of them."
        )
    kernel, strides, pads = _pooling(node, x)
    return pooling.avg_pool(x, kernel, strides, pads, include)


def _pooling(node: Node, x: Tensor) -> tuple[Pair, Pair, Pads]:
    """Window, strides and padding; what `ceil_mode` adds is padding at the end."""
    if x.rank != 4 or _pair(node, "dilations") != (1, 1):
        raise GraphError(
            f"{node}: expected pooling without dilation, of images (N, C, H, W); got {show(x.shape)}."
        )
    kernel, strides = _pair(node, "kernel_shape"), _pair(node, "strides")
    pads = _pads(node, x, kernel, strides, (1, 1))
    if not node.get("ceil_mode", 0):
        return kernel, strides, pads
    height, width = known(str(node), x.shape[2:])
    return (
        kernel,
        strides,
        (
            _stretched(height, kernel[0], strides[0], pads[0]),
            _stretched(width, kernel[1], strides[1], pads[1]),
        ),
    )


def _stretched(size: int, kernel: int, stride: int, pads: Pair) -> Pair:
    """Padding that makes room for a last window, unless that would begin in the padding at the end."""
    rest = (size + sum(pads) - kernel) % stride
    missing = (stride - rest) % stride
    last_start = size + sum(pads) + missing - kernel
    return (pads[0], pads[1] + missing) if last_start < size + pads[0] else pads


def _declared_pads(node: Node) -> Pads:
    top, left, bottom, right = node.get("pads", (0, 0, 0, 0))
    return (top, bottom), (left, right)


def _pads(node: Node, x: Tensor, kernel: Pair, strides: Pair, dilations: Pair) -> Pads:
    mode = node.get("auto_pad", "NOTSET")
    if mode == "NOTSET":
        return _declared_pads(node)
    if mode == "VALID":
        return (0, 0), (0, 0)
    pads = same_padding(known(str(node), x.shape[2:]), kernel, strides, dilations)
    # The odd pixel is at the end, or at the start.
    return pads if mode == "SAME_UPPER" else (pads[0][::-1], pads[1][::-1])


def _pair(node: Node, attribute: str) -> Pair:
    vertical, horizontal = node.get(attribute, (1, 1))
    return int(vertical), int(horizontal)
