"""The table of operations: at least one row for each entry of the registry, with awkward shapes.

Values stay away from kinks (0 of relu, ties of a maximum), where a central difference means nothing; what
happens there is decided and tested in `test_kinks`.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.special

from finetune.autodiff import constant, variable
from finetune.autodiff.ops import activations as act
from finetune.autodiff.ops import elementwise as el
from finetune.autodiff.ops import reductions as red
from finetune.autodiff.ops import shape as sh
from finetune.autodiff.ops import slicing as sl
from finetune.autodiff.ops import softmax as sm
from finetune.autodiff.ops import state as st
from finetune.autodiff.ops.convolution import conv2d
from finetune.autodiff.ops.matmul import einsum, matmul
from finetune.autodiff.ops.normalisation import group_norm, layer_norm
from finetune.autodiff.ops.pooling import avg_pool, max_pool
from finetune.autodiff.ops.training import dropout, in_training
from finetune.autodiff.tensor import apply
from tests.finetune.autodiff.checker import Case

ALL = (0, 1, 2)  # no input has an unknown batch
_rng = np.random.default_rng(0)


def normal(*shape):
    return _rng.standard_normal(shape)


def away(*shape):
    """Between 0.2 and 1.7, of either sign."""
    return _rng.uniform(0.2, 1.7, shape) * _rng.choice([-1.0, 1.0], shape)


def positive(*shape):
    return _rng.uniform(0.5, 2.0, shape)


def distinct(*shape):
    """No two within 0.05 of each other."""
    return _rng.permutation(math.prod(shape)).reshape(shape) * 0.05 - 1.0


def whole(*shape, below):
    return _rng.integers(0, below, shape)


def truth(*shape):
    return _rng.random(shape) < 0.5


STRETCHED = [((2, 3), (2, 3)), ((2, 1, 3), (4, 1)), ((2, 3), ()), ((0, 3), (3,)), ((3,), (2, 3))]


def two(op, build, expected, make=normal):
    return [
        Case(
            op,
            build,
            [make(*a), make(*b)],
            expected,
            known=() if len(a) == len(b) else ALL,
            label=f"{op} {a} {b}",
        )
        for a, b in STRETCHED
    ]


def one(op, build, expected, make=normal):
    return [
        Case(op, build, [make(*shape)], expected, label=f"{op} {shape}")
        for shape in ((2, 3), (0, 4), (2, 1, 3, 2))
    ]


ELEMENTWISE = [
    *two("add", lambda a, b: a + b, np.add),
    *two("subtract", lambda a, b: a - b, np.subtract),
    *two("multiply", lambda a, b: a * b, np.multiply),
    *two("divide", lambda a, b: a / b, np.divide, away),
    *two("power", lambda a, b: a**b, np.power, positive),
    *two("maximum", el.maximum, np.maximum, away),
    *two("minimum", el.minimum, np.minimum, away),
    *two("less", lambda a, b: a < b, np.less),
    *two("less_equal", lambda a, b: a <= b, np.less_equal),
    *two("greater", lambda a, b: a > b, np.greater),
    *two("greater_equal", lambda a, b: a >= b, np.greater_equal),
    *two("equal", el.equal, np.equal),
    *two("logical_and", el.logical_and, np.logical_and, truth),
    *two("logical_or", el.logical_or, np.logical_or, truth),
    *one("logical_not", el.logical_not, np.logical_not, truth),
    *one("negative", el.negative, np.negative),
    *one("exp", el.exp, np.exp),
    *one("log", el.log, np.log, positive),
    *one("sqrt", el.sqrt, np.sqrt, positive),
    *one("reciprocal", el.reciprocal, np.reciprocal, away),
    *one("sin", el.sin, np.sin),
    *one("cos", el.cos, np.cos),
    *one("erf", el.erf, scipy.special.erf),
    *one("abs", el.absolute, np.abs, away),
    *one("sign", el.sign, np.sign, away),
    *one("floor", el.floor, np.floor, away),
    *one("ceil", el.ceil, np.ceil, away),
    *one("round", el.nearest, np.round, away),
    Case("power", lambda a: a**3, [away(2, 3)], lambda a: a**3, label="power of negative numbers"),
    Case("power", lambda a: 2.0**a, [away(2, 3)], np.exp2, label="power of a number"),
    Case("multiply", el.square, [normal(2, 3)], np.square, label="square"),
    Case("where", el.where, [truth(2, 3), normal(2, 3), normal(2, 3)], np.where),
    Case(
        "where",
        el.where,
        [truth(2, 1), normal(3), normal(2, 3)],
        np.where,
        known=ALL,
        label="where stretched",
    ),
    Case(
        "where",
        lambda c, a: el.where(c, a, 0.0),
        [truth(2), normal(2)],
        lambda c, a: np.where(c, a, 0),
        label="where number",
    ),
    Case("cast", lambda x: el.cast(x, np.int64), [away(2, 3)], lambda x: x.astype(np.int64), fixed=(0,)),
    Case(
        "cast",
        lambda x: el.cast(x, x.graph.dtype),
        [whole(2, 3, below=9)],
        lambda x: x.astype(float),
        label="cast from int",
    ),
    Case(
        "cast",
        lambda x: apply("cast", [x], dtype=x.dtype),
        [normal(2, 3)],
        lambda x: x,
        label="cast to itself",
    ),
]


def over(op, build, numpy, make=normal):
    return [
        Case(
            op,
            lambda x, a=axes, k=keep: build(x, a, k),
            [make(2, 3, 4)],
            lambda x, a=axes, k=keep: numpy(x, a, keepdims=k),
            label=f"{op} {axes} {keep}",
        )
        for axes, keep in (((1,), False), ((0, 2), True), (None, False), ((2, 0), False))
    ]


REDUCTIONS = [
    *over("sum", red.reduce_sum, np.sum),
    *over("mean", red.reduce_mean, np.mean),
    *over("max", red.reduce_max, np.max, distinct),
    *over("min", red.reduce_min, np.min, distinct),
    Case("sum", lambda x: red.reduce_sum(x, ()), [normal(2, 3)], lambda x: x, label="sum over no axes"),
    Case("sum", red.reduce_sum, [normal(0, 3)], np.sum, label="sum of an empty batch"),
    Case(
        "mean",
        lambda x: red.reduce_mean(x, 1),
        [normal(0, 3)],
        lambda x: x.mean(1),
        label="mean in an empty batch",
    ),
    Case(
        "max",
        lambda x: red.reduce_max(x, 1),
        [distinct(0, 3)],
        lambda x: x.max(1),
        label="max in an empty batch",
    ),
    Case("argmax", red.argmax, [distinct(2, 3, 4)], lambda x: x.argmax(-1)),
    Case(
        "argmax",
        lambda x: red.argmax(x, 0),
        [distinct(2, 3)],
        lambda x: x.argmax(0),
        label="argmax of the batch",
    ),
    Case("argmin", red.argmin, [distinct(2, 3, 4)], lambda x: x.argmin(-1)),
    Case("count", lambda x: red.element_count(x, (0, 2)), [normal(2, 3, 4)], lambda x: np.array(8.0)),
    Case(
        "log",
        lambda x: red.logsumexp(x, 1),
        [normal(2, 3)],
        lambda x: scipy.special.logsumexp(x, 1),
        label="logsumexp",
    ),
]

SHAPE = [
    Case("reshape", lambda x: sh.reshape(x, (-1, 6)), [normal(2, 3, 2)], lambda x: x.reshape(-1, 6)),
    Case(
        "reshape",
        lambda x: sh.reshape(x, (-1, 2)),
        [normal(0, 4)],
        lambda x: x.reshape(-1, 2),
        label="reshape empty",
    ),
    Case(
        "reshape",
        lambda x: sh.reshape(x, (4,)),
        [normal(2, 2)],
        lambda x: x.reshape(4),
        label="reshape to known",
    ),
    Case("shape", sh.shape_of, [normal(2, 3, 4)], lambda x: np.array([2, 3, 4])),
    Case(
        "shape", lambda x: sh.shape_of(x.T), [normal(0, 3)], lambda x: np.array([3, 0]), label="shape of x.T"
    ),
    Case("reshape", sh.flatten, [normal(2, 3, 2, 2)], lambda x: x.reshape(2, 12), label="flatten"),
    Case(
        "reshape_like",
        lambda x, y: sh.reshape_like(x, y),
        [normal(2, 6), normal(2, 3, 2)],
        lambda x, y: x.reshape(2, 3, 2),
        fixed=(1,),
    ),
    Case("unsqueeze", lambda x: sh.unsqueeze(x, (0, 2)), [normal(2, 3)], lambda x: x[None, :, None]),
    Case("squeeze", lambda x: sh.squeeze(x, 1), [normal(2, 1, 3)], lambda x: x[:, 0]),
    Case(
        "transpose",
        lambda x: sh.transpose(x, (0, 2, 3, 1)),
        [normal(2, 3, 4, 5)],
        lambda x: x.transpose(0, 2, 3, 1),
    ),
    Case(
        "transpose", lambda x: x.T + 0.0 * x.T, [normal(2, 3)], lambda x: x.T, label="transpose of a matrix"
    ),
    Case(
        "transpose",
        lambda x, y: sh.transpose(x, (0, 2, 3, 1)) * y,
        [normal(2, 3, 4, 5), normal(5, 3)],
        lambda x, y: x.transpose(0, 2, 3, 1) * y,
        known=ALL,
        label="transpose, then stretch",
    ),
    Case(
        "broadcast_like",
        sh.broadcast_like,
        [normal(1, 3), normal(2, 4, 3)],
        lambda x, y: np.broadcast_to(x, y.shape),
        fixed=(1,),
        known=ALL,
    ),
    Case(
        "broadcast_like",
        lambda x: sh.zeros_like(x) + sh.ones_like(x) * x,
        [normal(2, 3)],
        lambda x: x,
        label="zeros and ones",
    ),
    Case(
        "concat",
        lambda a, b, c: sh.concat([a, b, c], 1),
        [normal(2, 1), normal(2, 3), normal(2, 0)],
        lambda *v: np.concatenate(v, 1),
    ),
    Case(
        "concat",
        lambda a, b: sh.stack([a, b], 1),
        [normal(2, 3), normal(2, 3)],
        lambda a, b: np.stack([a, b], 1),
        label="stack",
    ),
    Case("split", lambda x: sh.split(x, (1, 0, 3), 1), [normal(2, 4)], lambda x: np.split(x, (1, 1), 1)),
    Case(
        "split",
        lambda x: sh.split(x, (1, 3), 1)[1],
        [normal(2, 4)],
        lambda x: x[:, 1:],
        label="split, one part used",
    ),
    Case("slice", lambda x: x[:, 1:3], [normal(2, 4)], lambda x: x[:, 1:3]),
    Case("slice", lambda x: x[:, ::-2], [normal(2, 5)], lambda x: x[:, ::-2], label="slice backwards"),
    Case("slice", lambda x: x[1:], [normal(3, 2)], lambda x: x[1:], label="slice of the batch"),
    Case(
        "slice",
        lambda x: x[..., None, -1],
        [normal(2, 3, 4)],
        lambda x: x[..., None, -1],
        label="index from the end",
    ),
    Case(
        "slice", lambda x: x[:, 1, 1::2], [normal(2, 3, 4)], lambda x: x[:, 1, 1::2], label="index and stride"
    ),
    Case("slice", lambda x: x[:, 3:1], [normal(2, 4)], lambda x: x[:, 3:1], label="slice of nothing"),
    Case(
        "unslice",
        lambda g, x: apply("unslice", [g, x], bounds=((None, None, 1), (1, 3, 1))),
        [normal(2, 2), normal(2, 4)],
        lambda g, x: np.pad(g, ((0, 0), (1, 1))),
        fixed=(1,),
    ),
    Case(
        "pad",
        lambda x: sl.pad(x, ((0, 0), (1, 2)), 0.5),
        [normal(2, 3)],
        lambda x: np.pad(x, ((0, 0), (1, 2)), constant_values=0.5),
    ),
    Case(
        "pad",
        lambda x: sl.pad(x, ((1, 0), (0, 0))),
        [normal(2, 3)],
        lambda x: np.pad(x, ((1, 0), (0, 0))),
        label="pad the batch",
    ),
    Case("gather", sl.gather, [normal(5, 3), whole(2, 4, below=5)], lambda x, i: x[i], known=ALL),
    Case(
        "gather",
        lambda x, i: sl.gather(x, i, 1),
        [normal(2, 5, 3), np.array([1, 1, -1])],
        lambda x, i: x[:, i],
        known=ALL,
        label="gather twice the same",
    ),
    Case(
        "scatter_add",
        lambda g, i, x: apply("scatter_add", [g, i, x], axis=0),
        [normal(3, 2), np.array([1, 1, 0]), normal(4, 2)],
        lambda g, i, x: np.stack([g[2], g[0] + g[1], 0 * g[0], 0 * g[0]]),
        fixed=(2,),
        known=ALL,
    ),
    Case(
        "equal",
        lambda i: sl.one_hot(i, 4),
        [np.array([0, 3, 5])],
        lambda i: np.eye(6)[i][:, :4],
        label="one_hot",
    ),
]

MATMUL = [
    Case(
        "matmul",
        lambda a, b: einsum("nchw,cd->nhwd", a, b),
        [normal(2, 3, 1, 2), normal(3, 4)],
        lambda a, b: np.einsum("nchw,cd->nhwd", a, b),
        known=(1,),
        label="einsum of a map and a layer",
    ),
    Case(
        "matmul",
        lambda a, b: einsum("...qd,...kd", a, b),
        [normal(2, 2, 3, 4), normal(2, 2, 5, 4)],
        lambda a, b: np.einsum("...qd,...kd", a, b),
        known=ALL,
        label="einsum over an ellipsis",
    ),
    Case(
        "sum",
        lambda a: einsum("nij->ni", a),
        [normal(2, 3, 4)],
        lambda a: np.einsum("nij->ni", a),
        label="einsum of one",
    ),
    Case(
        "matmul",
        lambda a, b, c: einsum("ij,jk,ki->", a, b, c),
        [normal(2, 3), normal(3, 4), normal(4, 2)],
        lambda a, b, c: np.einsum("ij,jk,ki->", a, b, c),
        known=ALL,
        label="einsum of three",
    ),
    Case(
        "matmul",
        lambda a, b: einsum("ni,nj->nij", a, b),
        [normal(0, 3), normal(0, 2)],
        lambda a, b: np.einsum("ni,nj->nij", a, b),
        label="einsum of an empty batch",
    ),
    Case("matmul", matmul, [normal(2, 3), normal(3, 4)], np.matmul, known=ALL),
    Case(
        "matmul",
        lambda a: matmul(a, a.T),
        [normal(3, 2)],
        lambda a: a @ a.T,
        label="matmul with its transpose",
    ),
    Case(
        "matmul",
        lambda a, b: matmul(a.T, b),
        [normal(3, 2), normal(3, 4)],
        lambda a, b: a.T @ b,
        label="matmul transposed",
    ),
    Case(
        "matmul",
        matmul,
        [normal(2, 1, 3, 4), normal(5, 4, 2)],
        np.matmul,
        known=ALL,
        label="matmul of stacks",
    ),
    Case(
        "matmul",
        matmul,
        [normal(2, 3, 4), normal(4, 2)],
        np.matmul,
        known=ALL,
        label="matmul of stack and matrix",
    ),
    Case(
        "matmul",
        lambda a, b: matmul(a.T, b),
        [normal(0, 2), normal(0, 4)],
        lambda a, b: a.T @ b,
        label="matmul over nothing",
    ),
]

ACTIVATIONS = [
    *one("relu", act.relu, lambda x: np.maximum(x, 0), away),
    Case(
        "relu_gradient",
        lambda g, y: apply("relu_gradient", [g, y]),
        [normal(2, 3), np.abs(away(2, 3))],
        lambda g, y: g,
        fixed=(1,),
    ),
    *one(
        "clip",
        lambda x: act.clip(x, -1.0, 0.5),
        lambda x: np.clip(x, -1.0, 0.5),
        lambda *s: distinct(*s) * 1.01 + 0.013,
    ),
    Case("clip", act.relu6, [5.0 * away(2, 3)], lambda x: np.clip(x, 0, 6), label="relu6"),
    *one("sigmoid", act.sigmoid, scipy.special.expit),
    *one("tanh", act.tanh, np.tanh),
    *one("softplus", act.softplus, lambda x: np.log1p(np.exp(x))),
    *one("elu", lambda x: act.elu(x, 0.75), lambda x: np.where(x > 0, x, 0.75 * np.expm1(x)), away),
    *one("leaky_relu", lambda x: act.leaky_relu(x, 0.25), lambda x: np.where(x > 0, x, 0.25 * x), away),
    Case("sigmoid", act.silu, [normal(2, 3)], lambda x: x * scipy.special.expit(x), label="silu"),
    Case("erf", act.gelu, [normal(2, 3)], lambda x: x * scipy.special.ndtr(x), label="gelu"),
    Case("tanh", lambda x: act.gelu(x, approximate=True), [normal(2, 3)], label="gelu by tanh"),
    *one("softmax", sm.softmax, lambda x: scipy.special.softmax(x, -1)),
    Case(
        "softmax",
        lambda x: sm.softmax(x, 1),
        [normal(2, 3, 4)],
        lambda x: scipy.special.softmax(x, 1),
        label="softmax in the middle",
    ),
    *one("log_softmax", sm.log_softmax, lambda x: scipy.special.log_softmax(x, -1)),
    Case(
        "softmax_cross_entropy",
        sm.softmax_cross_entropy_with_logits,
        [normal(4, 3), positive(4, 3)],
        lambda x, t: -(t * scipy.special.log_softmax(x, -1)).sum(-1),
    ),
    Case(
        "softmax_cross_entropy",
        sm.softmax_cross_entropy_with_logits,
        [normal(0, 3), positive(0, 3)],
        label="cross-entropy of nothing",
    ),
    Case(
        "softmax_cross_entropy",
        lambda x, t: x.graph.create("softmax_cross_entropy", [x, t]).outputs,
        [normal(4, 3), positive(4, 3)],
        label="cross-entropy and its logarithms",
    ),
]


CONVOLUTION_SHAPES = {
    "SAME": ((2, 3, 5, 6), (4, 3, 3, 3), {}),
    "1x1": ((2, 3, 4, 4), (5, 3, 1, 1), {}),
    "1x1 strided": ((2, 3, 5, 5), (4, 3, 1, 1), {"strides": 2, "padding": "VALID"}),
    "VALID, strides": ((2, 2, 7, 8), (3, 2, 3, 2), {"strides": (2, 3), "padding": "VALID"}),
    "SAME, strides, even window": ((1, 2, 6, 7), (2, 2, 4, 2), {"strides": 2}),
    "1x7": ((2, 3, 4, 8), (2, 3, 1, 7), {}),
    "stride larger than the window": ((1, 2, 8, 7), (3, 2, 2, 1), {"strides": 3, "padding": "VALID"}),
    "asymmetric padding": ((2, 2, 4, 5), (3, 2, 3, 3), {"padding": ((0, 2), (1, 0))}),
    "dilated": ((1, 2, 8, 8), (2, 2, 3, 2), {"dilations": (2, 3), "padding": 1}),
    "dilated and strided": ((1, 2, 9, 9), (2, 2, 2, 3), {"dilations": 2, "strides": 2}),
    "groups": ((2, 4, 5, 5), (6, 2, 3, 3), {"groups": 2}),
    "groups, strides, dilated": (
        (1, 4, 9, 9),
        (4, 2, 3, 3),
        {"groups": 2, "strides": 2, "dilations": 2, "padding": (1, 2)},
    ),
    "depthwise": ((2, 3, 5, 5), (3, 1, 3, 3), {"groups": 3}),
    "depthwise, multiplier, strides": ((2, 3, 6, 6), (6, 1, 3, 3), {"groups": 3, "strides": 2}),
    "empty batch": ((0, 2, 4, 4), (3, 2, 3, 3), {}),
}


def _convolutions():
    for label, (image, weights, attrs) in CONVOLUTION_SHAPES.items():
        inputs = [normal(*image), normal(*weights)]

        def forward(x, w, attrs=attrs):
            return conv2d(x, w, **attrs)

        def for_input(x, w, attrs=attrs):
            y = conv2d(x, w, **attrs)
            return apply("conv2d_input_gradient", [w, y], **y.op.attrs)

        def for_weights(x, w, attrs=attrs):
            y = conv2d(x, w, **attrs)
            return apply("conv2d_weight_gradient", [x, y], **y.op.attrs)

        for op, build in (("", forward), ("_input_gradient", for_input), ("_weight_gradient", for_weights)):
            yield Case(f"conv2d{op}", build, inputs, known=(1,), label=f"conv2d{op} {label}")


POOL_SHAPES = {
    "2x2": ((2, 3, 4, 6), 2, None, "VALID"),
    "SAME 3x3": ((2, 2, 5, 5), 3, 1, "SAME"),
    "SAME 3x3, strides": ((1, 2, 6, 5), 3, 2, "SAME"),
    "VALID 3x2, strides": ((2, 1, 7, 7), (3, 2), (2, 3), "VALID"),
    "stride larger than the window": ((1, 2, 8, 8), 2, 3, "VALID"),
    "asymmetric padding": ((1, 2, 4, 5), 3, 2, ((0, 2), (1, 0))),
    "whole image": ((2, 2, 3, 4), (3, 4), 1, "VALID"),
    "empty batch": ((0, 2, 4, 4), 2, 2, "VALID"),
}


def _pools():
    for label, (image, window, strides, padding) in POOL_SHAPES.items():
        x = distinct(*image)
        at = {"window": window, "strides": strides, "padding": padding}
        yield Case("max_pool", lambda x, at=at: max_pool(x, **at), [x], label=f"max_pool {label}")
        for include in (False, True):
            both = {**at, "include_padding": include}
            yield Case(
                "avg_pool", lambda x, at=both: avg_pool(x, **at), [x], label=f"avg_pool {label} {include}"
            )

            def spread(x, at=both):
                y = avg_pool(x, **at)
                return apply("avg_pool_gradient", [y], **y.op.attrs)

            yield Case("avg_pool_gradient", spread, [x], label=f"avg_pool_gradient {label} {include}")

        def scatter(x, g, at=at):
            pooled = max_pool(x, **at).op
            return apply("pool_scatter", [sh.broadcast_like(g, pooled.output), pooled.outputs[1], x])

        def gather(x, c, at=at):
            return apply("pool_gather", [c, max_pool(x, **at).op.outputs[1]])

        yield Case(
            "pool_scatter", scatter, [x, normal(1)], fixed=(0,), known=(1,), label=f"pool_scatter {label}"
        )
        yield Case("pool_gather", gather, [x, normal(*image)], fixed=(0,), label=f"pool_gather {label}")


def layer_normalised(x, gamma, beta, axes=(-1,)):
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + 1e-2) * gamma + beta


def group_normalised(x, gamma, beta, groups):
    apart = x.reshape(len(x), groups, -1)
    plain = layer_normalised(apart, 1.0, 0.0).reshape(x.shape)
    per_channel = [np.repeat(v, x.shape[1] // len(v)).reshape(-1, *[1] * (x.ndim - 2)) for v in (gamma, beta)]
    return plain * per_channel[0] + per_channel[1]


NORMALISATION = [
    Case(
        "mean",
        lambda x, a, b: layer_norm(x, (2,), a, b, 1e-2),
        [normal(2, 3, 4), normal(4), normal(4)],
        layer_normalised,
        known=(1, 2),
        label="layer_norm",
    ),
    Case(
        "mean",
        lambda x, a, b: layer_norm(x, (1, 2), a, b, 1e-2),
        [normal(2, 3, 4), normal(3, 4), normal(3, 1)],
        lambda x, a, b: layer_normalised(x, a, b, (1, 2)),
        known=(1, 2),
        label="layer_norm over two axes",
    ),
    Case(
        "mean",
        lambda x: layer_norm(x, (1,), None, None, 1e-2),
        [normal(0, 3)],
        lambda x: x,
        label="layer_norm of an empty batch",
    ),
    Case(
        "mean",
        lambda x, a, b: group_norm(x, 2, a, b, 1e-2),
        [normal(2, 4, 1, 3), normal(4), normal(4)],
        lambda x, a, b: group_normalised(x, a, b, 2),
        known=(1, 2),
        label="group_norm",
    ),
    Case(
        "mean",
        lambda x, a, b: group_norm(x, 2, a, b, 1e-2),
        [normal(2, 6, 3), normal(2), normal(2)],
        lambda x, a, b: group_normalised(x, a, b, 2),
        known=(1, 2),
        label="group_norm by group",
    ),
    Case(
        "mean",
        lambda x, a, b: group_norm(x, 3, a, b, 1e-2),
        [normal(2, 3, 2, 2), normal(3), normal(3)],
        lambda x, a, b: group_normalised(x, a, b, 3),
        known=(1, 2),
        label="instance norm",
    ),
]

STATE = [
    Case("constant", lambda x: x * constant([1.0, 2.0, 3.0]), [normal(2, 3)], lambda x: x * [1, 2, 3]),
    Case("placeholder", lambda x: x, [normal(2, 3)], lambda x: x),
    Case(
        "variable", lambda x: x * variable(np.ones(3), name="w", trainable=False), [normal(2, 3)], lambda x: x
    ),
    Case("identity", st.identity, [normal(2, 3)], lambda x: x),
    Case(
        "stop_gradient", lambda x: x * st.stop_gradient(constant(2.0) * 1.0), [normal(2, 3)], lambda x: 2 * x
    ),
    Case("assert_finite", st.assert_finite, [normal(2, 3)], lambda x: x),
    Case("print", lambda x: st.print_tensor(x, "x"), [normal(2)], lambda x: x),
    Case(
        "assign",
        lambda x: variable(np.zeros((2, 3)), name="w").assign(x),
        [normal(2, 3)],
        lambda x: x,
        known=ALL,
    ),
    Case("group", lambda x: (st.group([x]), x)[1], [normal(2, 3)], lambda x: x),
    Case("in_training", lambda x, y: in_training(x, y), [normal(2, 3), normal(2, 3)], lambda x, y: x),
]

DROPOUT = [
    Case("dropout", lambda x: dropout(x, 0.4), [normal(5, 4)]),
    Case("dropout", lambda x: dropout(x, 0.0), [normal(2, 3)], lambda x: x, label="dropout of nothing"),
    Case(
        "dropout", lambda x: dropout(x, 0.5), [normal(0, 3)], lambda x: x, label="dropout in an empty batch"
    ),
]

CASES = [
    *ELEMENTWISE,
    *REDUCTIONS,
    *SHAPE,
    *MATMUL,
    *ACTIVATIONS,
    *_convolutions(),
    *_pools(),
    *NORMALISATION,
    *STATE,
    *DROPOUT,
]
