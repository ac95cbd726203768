"""Windows that slide over images: sizes, strides, dilation and padding, worked out when the graph is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetune.autodiff.shapes import Shape, known, show
from models.errors import ShapeError

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]  # (top, bottom), (left, right)
Padding = str | int | Sequence[int] | Sequence[Sequence[int]]


@dataclass(frozen=True)
class Windows:
    """A window of `kernel` (height, width) that moves over an image of size `image` by `strides`.

    `before` and `after` are the rows and columns of padding; `dilations` the distances of the window's pixels.
    """

    image: Pair
    kernel: Pair
    strides: Pair
    dilations: Pair
    before: Pair
    after: Pair

    @property
    def output(self) -> Pair:
        """Number of window positions, down and across."""
        return self._along(0), self._along(1)

    def _along(self, axis: int) -> int:
        room = self.image[axis] + self.before[axis] + self.after[axis] - self.span[axis]
        return room // self.strides[axis] + 1

    @property
    def span(self) -> Pair:
        """Height and width of a window with its gaps."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))  # type: ignore[return-value]

    @property
    def rest(self) -> Pair:
        """Rows and columns at the end that no window reaches."""
        reached = [(n - 1) * s + k for n, s, k in zip(self.output, self.strides, self.span, strict=True)]
        have = [self.image[i] + self.before[i] + self.after[i] for i in (0, 1)]
        return have[0] - reached[0], have[1] - reached[1]

    def onnx(self) -> dict[str, Any]:
        """The attributes of ONNX Conv, ConvTranspose and MaxPool."""
        return {
            "kernel_shape": self.kernel,
            "strides": self.strides,
            "dilations": self.dilations,
            "pads": (*self.before, *self.after),
        }


def windows(
    what: str, shape: Shape, kernel: Pair, strides: int | Pair, padding: Padding, dilations: int | Pair = 1
) -> Windows:
    """The windows over images of `shape` (N, C, H, W).

    `padding`: "VALID" (none), "SAME" (output = input / stride, rounded up; the odd pixel goes to the end), one
    number, (vertical, horizontal), or ((top, bottom), (left, right)).

    Raises:
        ShapeError: not images, sizes that are not known, or a window that is larger than the padded image.
    """
    if len(shape) != 4:
        raise ShapeError(f"{what}: expected images (N, C, H, W), got {show(shape)}.")
    height, width = known(what, shape[2:])
    image, stride, dilation = (
        (height, width),
        pair(what, "strides", strides),
        pair(what, "dilations", dilations),
    )
    before, after = _pads(what, padding, image, kernel, stride, dilation)
    at = Windows(image, kernel, stride, dilation, before, after)
    if min(at.output) < 1 or min(kernel) < 1:
        raise ShapeError(
            f"{what}: a window of {kernel} (dilation {dilation}) does not fit into {show(shape)} with padding "
            f"{before} before and {after} after. Pad more, or take a smaller window."
        )
    return at


def pair(what: str, name: str, value: int | Sequence[int]) -> Pair:
    """One number for both directions, or (vertical, horizontal).

    Raises:
        ShapeError: not positive, or more than two.
    """
    values = (value, value) if isinstance(value, int) else tuple(value)
    if len(values) != 2 or min(values) < 1:
        raise ShapeError(f"{what}: {name}={value!r}; expected a number >= 1, or two (vertical, horizontal).")
    return values[0], values[1]


def same_padding(image: Sequence[int], kernel: Pair, strides: Pair, dilations: Pair) -> Pads:
    """Padding with which the output is the input / stride, rounded up; the odd pixel goes to the end."""
    totals = [
        max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        for size, k, s, d in zip(image, kernel, strides, dilations, strict=True)
    ]
    vertical, horizontal = ((total // 2, total - total // 2) for total in totals)
    return vertical, horizontal


def _pads(
    what: str, padding: Padding, image: Pair, kernel: Pair, strides: Pair, dilations: Pair
) -> tuple[Pair, Pair]:
    if padding == "VALID":
        return (0, 0), (0, 0)
    if padding == "SAME":
        (top, bottom), (left, right) = same_padding(image, kernel, strides, dilations)
        return (top, left), (bottom, right)
    try:
        sides: Any = (padding, padding) if isinstance(padding, int) else tuple(padding)
        (top, bottom), (left, right) = ((s, s) if isinstance(s, int) else tuple(s) for s in sides)
        if isinstance(padding, str) or min(top, bottom, left, right) < 0:
            raise ValueError(padding)
    except (TypeError, ValueError) as exc:
        raise ShapeError(
            f'{what}: padding={padding!r}; expected "SAME", "VALID", a number, (vertical, horizontal) or '
            "((top, bottom), (left, right)), none below 0."
        ) from exc
    return (top, left), (bottom, right)
