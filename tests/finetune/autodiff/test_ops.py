"""Every operation against NumPy, central differences and, in float32, onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from finetune.autodiff import registry
from finetune.autodiff.ops import convolution_cpu, winograd_cpu
from tests.finetune.autodiff.cases import CASES
from tests.finetune.autodiff.checker import (
    TOLERANCE,
    Case,
    Problem,
    check_first_order,
    check_runtime,
    check_second_order,
)


def differentiable(case: Case) -> bool:
    has_gradient = not isinstance(registry.get(case.op).gradient, registry.NotDifferentiable)
    return has_gradient and any(
        np.asarray(v).dtype.kind == "f" and i not in case.fixed for i, v in enumerate(case.inputs)
    )


GRADIENTS = [case for case in CASES if differentiable(case)]


def test_every_operation_has_a_row() -> None:
    assert sorted({case.op for case in CASES}) == registry.names()


def test_labels_are_unique() -> None:
    labels = [str(case) for case in CASES]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("case", [c for c in CASES if c.expected], ids=str)
def test_value(case: Case) -> None:
    problem = Problem(case, np.float64)
    expected = case.expected(*problem.values)  # type: ignore[misc]
    for got, want in zip(
        problem.run(problem.outputs), expected if len(problem.outputs) > 1 else [expected], strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
        assert got.shape == np.shape(want)
        assert got.dtype == np.asarray(want).dtype


@pytest.mark.parametrize("case", GRADIENTS, ids=str)
def test_gradient(case: Case) -> None:
    assert check_first_order(case) <= TOLERANCE


@pytest.mark.parametrize("case", GRADIENTS, ids=str)
def test_gradient_of_the_gradient(case: Case) -> None:
    assert check_second_order(case) <= TOLERANCE


@pytest.mark.parametrize("case", CASES, ids=str)
def test_onnxruntime_agrees(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution_cpu, "FEW", 1)  # matrix products for these small images too
    check_runtime(case)


@pytest.mark.parametrize("case", [c for c in CASES if str(c).startswith("conv2d")], ids=str)
def test_onnxruntime_agrees_over_slices(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution_cpu, "FEW", 100)
    monkeypatch.setattr(convolution_cpu, "GROWTH", 100)
    check_runtime(case)


@pytest.mark.parametrize("case", [c for c in CASES if str(c).startswith("conv2d")], ids=str)
def test_onnxruntime_agrees_over_tiles(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd_cpu, "MANY", 1)
    check_runtime(case)
