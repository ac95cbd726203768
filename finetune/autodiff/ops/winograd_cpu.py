"""Windows of 3 x 3 on the CPU by Winograd's F(2x2, 3x3): 16 products for four results, where columns take 36.

Images are cut into tiles of 4 x 4 pixels that overlap by two. With the matrices of Lavin and Gray (2015, "Fast
Algorithms for Convolutional Neural Networks", section 4.1), each applied down and across at once as its Kronecker
square,

    result           = A' ((G weights) * (B' tiles))     4 x 16, 16 x 9 and 16 x 16, the products summed over channels
    weight gradient  = G' ((A gradient) * (B' tiles))
    input gradient   = the result for the gradient and weights with their ends swapped

The 16 places of a tile stand first, so that each of them is one matrix product over all tiles. The sums are others than
those of columns: they differ in the last bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from finetune.autodiff.emitter import Emitter
from finetune.autodiff.ops.rules import INT64
from finetune.autodiff.ops.windows import Pair, Windows
from finetune.autodiff.shapes import known
from finetune.autodiff.tensor import Tensor

MANY = 96  # channels and filters: with fewer, what the products save goes into cutting and adding tiles
OHWI = (0, 2, 3, 1)
NHWC = (0, 2, 3, 1)
_B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
_G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], np.float32) / 2
_A = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)
TILES, WEIGHTS, RESULTS = (np.kron(one, one) for one in (_B, _G, _A))  # (16, 16), (16, 9), (4, 16)


def suits(at: Windows, channels: int | None, filters: int | None) -> bool:
    """Whether windows of that many channels and filters are cut into tiles."""
    plain = at.kernel == (3, 3) and at.strides == at.dilations == (1, 1) and min(*at.before, *at.after) >= 0
    return bool(plain and channels and filters and min(channels, filters) >= MANY)


def result(emit: Emitter, x: Tensor, w: Tensor, at: Windows, *, swapped: bool = False) -> str:
    """(N, OH, OW, F): weights (F, C, 3, 3) over images; `swapped` takes them from F to C, their ends swapped."""
    spread = WEIGHTS[:, ::-1] if swapped else WEIGHTS
    weights = _spread(emit, spread.astype(w.dtype), _taps(emit, w), w.shape[1])
    if not swapped:
        weights = emit.node("Transpose", [weights], perm=[0, 2, 1])
    products = emit.node("MatMul", [_tiles(emit, x, at), weights])
    width = w.shape[1] if swapped else w.shape[0]
    down, across = _counts(at)
    four = emit.node("MatMul", [emit.constant(RESULTS, x.dtype), _rows(emit, products, 16)])
    placed = _shaped(emit, four, [2, 2, down, across, -1, width])
    whole = _shaped(
        emit, emit.node("Transpose", [placed], perm=[4, 2, 0, 3, 1, 5]), [-1, 2 * down, 2 * across, width]
    )
    if (2 * down, 2 * across) == at.output:
        return whole
    return emit.node("Slice", [whole, *(emit.constant(v, INT64) for v in ([0, 0], at.output, [1, 2]))])


def weight_gradient(emit: Emitter, x: Tensor, g: Tensor, at: Windows) -> str:
    """(F, 3, 3, C): how results of windows over images, whose gradient is `g`, change with the weights."""
    channels, filters = known("weights", (x.shape[1], g.shape[1]))
    down, across = _counts(at)
    name = emit.read(g, NHWC)
    if (missing := (2 * down - at.output[0], 2 * across - at.output[1])) != (0, 0):
        name = emit.node("Pad", [name, emit.constant([0, 0, 0, 0, 0, *missing, 0], INT64)])
    parted = _shaped(emit, name, [-1, down, 2, across, 2, filters])
    four = emit.node("Transpose", [parted], perm=[2, 4, 1, 3, 0, 5])
    gradient = _spread(emit, RESULTS.T.astype(g.dtype), _rows(emit, four, 4), filters)
    products = emit.node(
        "MatMul", [emit.node("Transpose", [gradient], perm=[0, 2, 1]), _tiles(emit, x, at)]
    )  # (16, F, C)
    taps = emit.node(
        "MatMul", [emit.constant(np.ascontiguousarray(WEIGHTS.T), x.dtype), _rows(emit, products, 16)]
    )
    # A sum over the tiles of no image is anything in onnxruntime's batched products, and not 0.
    images = emit.node("Shape", [emit.read(g, NHWC)], start=0, end=1)
    some = emit.node("Greater", [images, emit.constant([0], INT64)])
    taps = emit.node("Where", [some, taps, emit.constant(0, x.dtype)])
    return _shaped(
        emit,
        emit.node("Transpose", [_shaped(emit, taps, [9, filters, channels])], perm=[1, 0, 2]),
        [filters, 3, 3, channels],
    )


def _counts(at: Windows) -> Pair:
    """Tiles down and across; the last may reach over the edge."""
    return -(-at.output[0] // 2), -(-at.output[1] // 2)


def _tiles(emit: Emitter, x: Tensor, at: Windows) -> str:
    """(16, tiles N, C): the tiles of images, spread; made once for results and weight gradient."""
    key = ("tiles", x, at)
    if key not in emit.memo:
        (down, across), channels = _counts(at), x.shape[1]
        size = (2 * down + 2, 2 * across + 2)
        after = [size[i] - at.image[i] - at.before[i] for i in (0, 1)]
        name = emit.read(x, NHWC)
        if any((*at.before, *after)):
            name = emit.node("Pad", [name, emit.constant([0, *at.before, 0, 0, *after, 0], INT64)])
        flat = emit.node(
            "Transpose", [_shaped(emit, name, [-1, size[0] * size[1], channels])], perm=[1, 0, 2]
        )
        places = emit.constant(_places(down, across, size[1]), INT64)
        cut = emit.node("Gather", [flat, places], axis=0)
        emit.memo[key] = _spread(emit, TILES.astype(x.dtype), _rows(emit, cut, 16), channels)
    return str(emit.memo[key])


def _places(down: int, across: int, width: int) -> NDArray[np.int64]:
    """Which pixels of a padded image the tiles hold: the first place of all tiles, then the second, ... (16 tiles,)."""
    rows = 2 * np.arange(down)[None, None, :, None] + np.arange(4)[:, None, None, None]
    columns = 2 * np.arange(across)[None, None, None, :] + np.arange(4)[None, :, None, None]
    places: NDArray[np.int64] = (rows * width + columns).reshape(-1)
    return places


def _taps(emit: Emitter, w: Tensor) -> str:
    """(9, F C): the weights of each place of the window."""
    key = ("taps", w)
    if key not in emit.memo:
        filters, channels = known(w.name, w.shape[:2])
        flat = _shaped(emit, emit.read(w, OHWI), [filters, 9, channels])
        emit.memo[key] = _rows(emit, emit.node("Transpose", [flat], perm=[1, 0, 2]), 9)
    return str(emit.memo[key])


def _spread(emit: Emitter, matrix: NDArray[np.floating], rows: str, width: int | None) -> str:
    """(16, anything, width): a matrix of 16 rows applied to the first axis."""
    return _shaped(
        emit, emit.node("MatMul", [emit.constant(np.ascontiguousarray(matrix)), rows]), [16, -1, width]
    )


def _rows(emit: Emitter, name: str, count: int) -> str:
    return _shaped(emit, name, [count, -1])


def _shaped(emit: Emitter, name: str, shape: list[int | None]) -> str:
    return emit.node("Reshape", [name, emit.constant(shape, INT64)])
