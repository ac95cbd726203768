"""The checker fails where it must, and the replaced reference kernels are right."""

from __future__ import annotations

import numpy as np
import pytest

from finetune.autodiff import register_op, registry
from finetune.autodiff.ops.rules import any_order, onnx_node, same_as_first
from finetune.autodiff.tensor import apply
from tests.finetune.autodiff.cases import CASES
from tests.finetune.autodiff.checker import TOLERANCE, Case, check_first_order, check_second_order
from tests.finetune.autodiff.reference import AveragePool, Conv, ConvTranspose, MaxPool


@pytest.fixture
def wrong_tanh(monkeypatch: pytest.MonkeyPatch) -> Case:
    """tanh with a gradient that is 0.05 % too large, and a row that checks it."""

    def gradient(op, g):
        return 1.0005 * g * (1.0 - op.output * op.output)

    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    register_op(
        "wrong_tanh", shape=same_as_first, lower=onnx_node("Tanh"), gradient=gradient, permute=any_order
    )
    return Case("wrong_tanh", lambda x: apply("wrong_tanh", [x]), [np.linspace(-1.0, 1.0, 6).reshape(2, 3)])


def test_a_rule_that_is_wrong_by_half_a_thousandth_fails(wrong_tanh: Case) -> None:
    assert check_first_order(wrong_tanh) == pytest.approx(5e-4, rel=0.01)
    assert check_first_order(wrong_tanh) > 100 * TOLERANCE


def test_a_wrong_second_derivative_fails(wrong_tanh: Case) -> None:
    assert check_second_order(wrong_tanh) > 100 * TOLERANCE


def test_the_right_rule_passes() -> None:
    tanh = next(case for case in CASES if case.op == "tanh")
    assert check_first_order(tanh) <= TOLERANCE / 100


GEOMETRY = {"strides": (2, 1), "dilations": (1, 2), "pads": (1, 0, 2, 1)}


def meetings(image, out, kernel):
    """(window position, image pixel, window pixel) for all that meet, in plain loops."""
    for o in np.ndindex(*out):
        for k in np.ndindex(*kernel):
            i = tuple(
                o[a] * GEOMETRY["strides"][a] + k[a] * GEOMETRY["dilations"][a] - GEOMETRY["pads"][a]
                for a in (0, 1)
            )
            if 0 <= i[0] < image[0] and 0 <= i[1] < image[1]:
                yield o, i, k


def run(kernel, *inputs, **attrs):
    return kernel._run(None, *inputs, **attrs)


def test_reference_convolutions_are_right() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 4, 5, 6)), rng.standard_normal((6, 2, 3, 2))
    y = run(Conv, x, w, group=2, **GEOMETRY)[0]
    expected, back = np.zeros_like(y), np.zeros_like(x)
    for n, f, c in np.ndindex(2, 6, 2):
        channel = f // 3 * 2 + c
        for o, i, k in meetings(x.shape[2:], y.shape[2:], w.shape[2:]):
            expected[(n, f, *o)] += x[(n, channel, *i)] * w[(f, c, *k)]
    for n, f, c in np.ndindex(2, 6, 2):
        channel = f // 3 * 2 + c
        for o, i, k in meetings(x.shape[2:], y.shape[2:], w.shape[2:]):
            back[(n, channel, *i)] += expected[(n, f, *o)] * w[(f, c, *k)]
    np.testing.assert_allclose(y, expected)
    rest = (5 + 3 - 3) % 2, 0
    np.testing.assert_allclose(run(ConvTranspose, y, w, group=2, output_padding=rest, **GEOMETRY)[0], back)


def test_reference_pools_are_right() -> None:
    x = np.random.default_rng(0).permutation(60).reshape(1, 2, 5, 6).astype(float)
    kernel = (3, 2)
    y, places = run(MaxPool, x, kernel_shape=kernel, **GEOMETRY)
    for c in (0, 1):
        seen: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for o, i, _ in meetings(x.shape[2:], y.shape[2:], kernel):
            seen.setdefault(o, []).append(i)
        for o, pixels in seen.items():
            assert y[(0, c, *o)] == max(x[(0, c, *i)] for i in pixels) == x.ravel()[places[(0, c, *o)]]
    plain = {key: GEOMETRY[key] for key in ("strides", "pads")}
    mean = run(AveragePool, x, kernel_shape=kernel, **plain)[0]
    assert mean[0, 0, 0, 0] == pytest.approx(x[0, 0, :2, :2].mean())  # the row of padding does not count
    padded = run(AveragePool, x, kernel_shape=kernel, count_include_pad=1, **plain)[0]
    assert padded[0, 0, 0, 0] == pytest.approx(x[0, 0, :2, :2].sum() / 6)
