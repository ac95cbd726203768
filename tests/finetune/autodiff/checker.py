"""Checks an operation: its value, its gradient and the gradient of that, in float64, then onnxruntime in float32.

Derivatives are compared with central differences along one random direction, which takes two evaluations however
many inputs there are. A rule that is wrong by 0.05 % must fail; `test_checker` shows that it does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finetune.autodiff import Graph, Session, Tensor, gradients
from finetune.autodiff.ops.shape import reshape_like
from finetune.autodiff.program import compile_program, storage_order
from finetune.autodiff.variables import initial_value
from models.errors import GradientError
from tests.finetune.autodiff.reference import evaluate

TOLERANCE = 1e-6  # relative, of a derivative in float64
STEP = 1e-5  # of the central difference: its own error is about STEP^2 = 1e-10


@dataclass(frozen=True)
class Case:
    """A row of the table: `build` applies the operation `op` to placeholders for `inputs`.

    `expected`: the same in NumPy. Real inputs are differentiated, except the positions in `fixed`.
    The first size of an input is unknown to the graph, except at the positions in `known`.
    """

    op: str
    build: Callable[..., Any]
    inputs: Sequence[Any]
    expected: Callable[..., Any] | None = None
    fixed: tuple[int, ...] = ()
    known: tuple[int, ...] = ()
    label: str = ""

    def __str__(self) -> str:
        return self.label or self.op


class Problem:
    """A case built into a graph: its outputs, and the scalar that is differentiated."""

    def __init__(self, case: Case, dtype: type) -> None:
        self.graph = Graph(dtype, seed=1)
        self.values = [
            np.asarray(v, dtype) if np.asarray(v).dtype.kind == "f" else np.asarray(v) for v in case.inputs
        ]
        with self.graph:
            self.xs = [
                self.graph.placeholder(
                    [None, *v.shape[1:]] if i not in case.known and v.ndim else v.shape, v.dtype, name=f"x{i}"
                )
                for i, v in enumerate(self.values)
            ]
            built = case.build(*self.xs)
            self.outputs: list[Tensor] = [built] if isinstance(built, Tensor) else list(built)
            self.wanted = [x for i, x in enumerate(self.xs) if x.is_real and i not in case.fixed]
            self.real = [y for y in self.outputs if y.is_real]
            self.scalar = (
                _weighted(self.real, [self.run([y])[0] for y in self.real], seed=2) if self.real else None
            )

    def run(
        self, fetches: Sequence[Tensor], shift: dict[Tensor, Any] | None = None, target: str = "plain"
    ) -> list[Any]:
        """Evaluate in the reference evaluator, the inputs moved by `shift`."""
        orders = {v: storage_order(v, target) for v in self.graph.variables}
        frozen = {v: initial_value(v) for v in self.graph.variables}
        program = compile_program(self.graph, fetches, tuple(self.xs), target, True, orders, frozen)
        shift = shift or {}
        feeds = {
            program.feeds[x]: v + shift.get(x, 0) if x in shift else v
            for x, v in zip(self.xs, self.values, strict=True)
        }
        return evaluate(program, feeds)

    def direction(self, seed: int) -> dict[Tensor, Any]:
        """A random direction in the space of the inputs that are differentiated."""
        rng = np.random.default_rng(seed)
        values = dict(zip(self.xs, self.values, strict=True))
        return {x: rng.standard_normal(values[x].shape) for x in self.wanted}


def _weighted(tensors: Sequence[Tensor], values: Sequence[Any], seed: int) -> Tensor:
    """Sum of all elements with random weights, so that no error can cancel out."""
    rng = np.random.default_rng(seed)
    weights = [
        t.graph.constant(rng.standard_normal(np.shape(v))) for t, v in zip(tensors, values, strict=True)
    ]
    total = weights[0].graph.constant(0.0)
    for t, w in zip(tensors, weights, strict=True):
        total = total + (t * reshape_like(w, t)).sum()
    return total


def derivative_error(problem: Problem, scalar: Tensor, grads: dict[Tensor, Tensor], seed: int) -> float:
    """Relative difference between the directional derivative by `grads` and by central differences."""
    v = problem.direction(seed)
    up = float(problem.run([scalar], {x: STEP * d for x, d in v.items()})[0])
    down = float(problem.run([scalar], {x: -STEP * d for x, d in v.items()})[0])
    numeric = (up - down) / (2 * STEP)
    given = problem.run(list(grads.values())) if grads else []
    for x, g in zip(grads, given, strict=True):
        assert g.shape == v[x].shape, f"gradient of {x.name} has shape {g.shape}, not {v[x].shape}"
    exact = sum(float((g * v[x]).sum()) for x, g in zip(grads, given, strict=True))
    scale = max(abs(exact), abs(numeric))
    return 0.0 if scale < 1e-7 else abs(exact - numeric) / scale  # both 0, up to the error of the difference


def gradients_where_any(scalar: Tensor, xs: Sequence[Tensor]) -> dict[Tensor, Tensor]:
    """Gradients for those xs on which the scalar depends; for the others the numbers must say 0."""
    found = {}
    for x in xs:
        try:
            found[x] = gradients(scalar, [x])[0]
        except GradientError:
            continue
    return found


def check_first_order(case: Case) -> float:
    """Relative error of the gradient in float64."""
    problem = Problem(case, np.float64)
    assert problem.scalar is not None
    with problem.graph:
        grads = dict(zip(problem.wanted, gradients(problem.scalar, problem.wanted), strict=True))
    return derivative_error(problem, problem.scalar, grads, seed=3)


def check_second_order(case: Case) -> float:
    """Relative error, in float64, of the gradient of the derivative along a direction."""
    problem = Problem(case, np.float64)
    assert problem.scalar is not None
    with problem.graph:
        first = gradients(problem.scalar, problem.wanted)
        slope = _weighted(first, problem.run(first), seed=4)
        second = gradients_where_any(slope, problem.wanted)
    return derivative_error(problem, slope, second, seed=5)


def check_runtime(case: Case) -> None:
    """onnxruntime in float32, with the CPU's lowerings, gives the reference's values and gradients."""
    exact, single = Problem(case, np.float64), Problem(case, np.float32)
    for problem in (exact, single):
        with problem.graph:
            differentiable = problem.scalar is not None and problem.wanted
            grads = (
                list(gradients_where_any(problem.scalar, problem.wanted).values()) if differentiable else []
            )
            problem.outputs += grads
    want = exact.run(exact.outputs)
    lowered = exact.run(exact.outputs, target="cpu")
    feeds = dict(zip(single.xs, single.values, strict=True))
    got = Session(single.graph, device="cpu", threads=1).run(single.outputs, feeds, training=True)
    for name, g, c, w in zip(exact.outputs, got, lowered, want, strict=True):
        assert g.shape == w.shape == c.shape, f"{name}: {g.shape}, {w.shape}, {c.shape}"
        np.testing.assert_allclose(c, w, rtol=1e-9, atol=1e-9, err_msg=f"{name} lowered for the CPU")
        np.testing.assert_allclose(
            g, w, rtol=2e-5, atol=2e-5 * max(1.0, np.abs(w).max(initial=0.0)), err_msg=str(name)
        )
