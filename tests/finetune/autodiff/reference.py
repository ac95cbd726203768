"""The ONNX reference evaluator in float64, with replacements for kernels that it has wrong or in single precision.

Wrong in onnx 1.23: ConvTranspose with groups or without some attributes, Conv and pooling of an empty batch, the
indices of MaxPool with padding, Erf (single precision), ReduceSum of nothing. `test_checker` compares the replacements
with plain loops.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from finetune.autodiff import Operation, Tensor, Variable
from finetune.autodiff.program import Program, compile_program
from finetune.autodiff.variables import initial_value


class _Taps:
    """The pixels of a padded image that a window's pixel meets, for all positions of the window at once."""

    def __init__(self, image, kernel, strides, dilations, pads):
        self.pads = [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])]
        self.padded = [image[i] + pads[i] + pads[i + 2] for i in (0, 1)]
        self.out = [(self.padded[i] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in (0, 1)]
        self.inside = (..., slice(pads[0], pads[0] + image[0]), slice(pads[1], pads[1] + image[1]))
        self.taps = {
            (kh, kw): (
                ...,
                slice(kh * dilations[0], kh * dilations[0] + (self.out[0] - 1) * strides[0] + 1, strides[0]),
                slice(kw * dilations[1], kw * dilations[1] + (self.out[1] - 1) * strides[1] + 1, strides[1]),
            )
            for kh, kw in np.ndindex(*kernel)
        }


def _contract(subscripts, pixels, weights):
    """A product over channels; of one group by BLAS, which is slower than plain loops where groups are many."""
    return np.einsum(subscripts, pixels, weights, optimize=weights.shape[0] == 1)


class Conv(OpRun):
    def _run(
        self, x, w, b=None, auto_pad=None, dilations=None, group=1, kernel_shape=None, pads=None, strides=None
    ):
        at = _Taps(x.shape[2:], w.shape[2:], strides, dilations, pads)
        padded = np.pad(x, at.pads).reshape(x.shape[0], group, w.shape[1], *at.padded)
        weights = w.reshape(group, w.shape[0] // group, *w.shape[1:])
        y = np.zeros((x.shape[0], group, w.shape[0] // group, *at.out), x.dtype)
        for k, pixels in at.taps.items():
            y += _contract("ngchw,gfc->ngfhw", padded[pixels], weights[(..., *k)])
        return (y.reshape(x.shape[0], w.shape[0], *at.out),)


class ConvTranspose(OpRun):
    def _run(
        self,
        x,
        w,
        b=None,
        auto_pad=None,
        dilations=None,
        group=1,
        kernel_shape=None,
        output_padding=None,
        output_shape=None,
        pads=None,
        strides=None,
    ):
        spans = [p + (k - 1) * d + 1 for p, k, d in zip(output_padding, w.shape[2:], dilations, strict=True)]
        size = [(x.shape[2 + i] - 1) * strides[i] + spans[i] - pads[i] - pads[i + 2] for i in (0, 1)]
        at = _Taps(size, w.shape[2:], strides, dilations, pads)
        grouped = x.reshape(x.shape[0], group, x.shape[1] // group, *x.shape[2:])
        weights = w.reshape(group, w.shape[0] // group, *w.shape[1:])
        y = np.zeros((x.shape[0], group, w.shape[1], *at.padded), x.dtype)
        for k, pixels in at.taps.items():
            y[pixels] += _contract("ngfhw,gfc->ngchw", grouped, weights[(..., *k)])
        return (y[at.inside].reshape(x.shape[0], group * w.shape[1], *size),)


class MaxPool(OpRun):
    def _run(
        self,
        x,
        auto_pad=None,
        ceil_mode=None,
        dilations=None,
        kernel_shape=None,
        pads=None,
        storage_order=None,
        strides=None,
    ):
        at = _Taps(x.shape[2:], kernel_shape, strides, dilations, pads)
        padded = np.pad(x, at.pads, constant_values=-np.inf)
        positions = np.pad(np.arange(x.size).reshape(x.shape), at.pads)
        y = np.full((*x.shape[:2], *at.out), -np.inf, x.dtype)
        places = np.zeros(y.shape, np.int64)
        for pixels in at.taps.values():
            places = np.where(padded[pixels] > y, positions[pixels], places)  # the first of equal ones stays
            y = np.maximum(y, padded[pixels])
        return y, places


class AveragePool(OpRun):
    def _run(
        self,
        x,
        auto_pad=None,
        ceil_mode=None,
        count_include_pad=0,
        dilations=None,
        kernel_shape=None,
        pads=None,
        strides=None,
    ):
        at = _Taps(x.shape[2:], kernel_shape, strides, (1, 1), pads)
        padded, ones = np.pad(x, at.pads), np.pad(np.ones((1, 1, *x.shape[2:]), x.dtype), at.pads)
        total = sum(padded[pixels] for pixels in at.taps.values())
        count = sum(ones[pixels] for pixels in at.taps.values())
        return (total / (x.dtype.type(len(at.taps)) if count_include_pad else count),)


class ReduceSum(OpRun):
    def _run(self, x, axes=None, keepdims=1, noop_with_empty_axes=0):
        return (np.asarray(np.sum(x, None if axes is None else tuple(axes), keepdims=bool(keepdims))),)


class Erf(OpRun):
    def _run(self, x):
        return (np.vectorize(math.erf, otypes=[x.dtype])(x),)


REPLACEMENTS: list[type[OpRun]] = [Conv, ConvTranspose, MaxPool, AveragePool, ReduceSum, Erf]


def evaluate(program: Program, feeds: Mapping[str, Any]) -> list[Any]:
    """The fetches of a program."""
    names = [name for name in program.outputs if name is not None]
    return list(ReferenceEvaluator(program.model, new_ops=REPLACEMENTS).run(names, dict(feeds)))


def descend(
    train: Operation, fetches: Sequence[Tensor], feeds: Mapping[Tensor, Any], steps: int
) -> tuple[list[list[Any]], dict[Variable, Any]]:
    """Take training steps: what was fetched in each, and the variables' values behind the last."""
    graph = train.graph
    orders = {v: tuple(range(v.rank)) for v in graph.variables}
    program = compile_program(graph, [train, *fetches], tuple(feeds), "plain", True, orders, {})
    evaluator = ReferenceEvaluator(program.model, new_ops=REPLACEMENTS)
    names = [*program.outputs[1:], *program.updates.values()]
    values = {v: initial_value(v) for v in graph.variables}
    fed = {program.feeds[tensor]: value for tensor, value in feeds.items()}
    rows = []
    for _ in range(steps):
        found = evaluator.run(names, fed | {name: values[v] for v, name in program.reads.items()})
        rows.append(found[: len(fetches)])
        values |= zip(program.updates, found[len(fetches) :], strict=True)
    return rows, values
