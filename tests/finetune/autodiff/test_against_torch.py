"""Gradients and ten optimizer steps of real blocks, against PyTorch (written down by scripts.golden.autodiff_torch).

PyTorch computed in float64, the graph computes in float32. Errors are relative to the root mean square of a weight's
gradient, or of its change.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from finetune.autodiff import Session, gradients
from scripts.golden.autodiff import CASES, FOLDER, STEPS, Case, graph_of

Array = NDArray[Any]
Tensors = Mapping[str, Array]


class Run(NamedTuple):
    gradients: Tensors
    losses: list[float]
    changes: Tensors
    golden: Tensors
    case: Case
    rounding: Mapping[str, float]  # of the changes, in elements: ten steps round the largest weight


@pytest.fixture(params=CASES, scope="module")
def run(request: pytest.FixtureRequest) -> Run:
    """All gradients of a network, then ten steps."""
    case = CASES[request.param]
    if case.private and "GRAFT_MODELS" not in os.environ:
        pytest.skip("GRAFT_MODELS is not set: it is the folder with mobilenet_v2_1.0_224.onnx")
    with np.load(FOLDER / f"{request.param}.npz") as file:
        golden = dict(file)
    graph, network, y, loss = graph_of(case)
    trained = {name: v for name, v in network.variables.items() if v.trainable}
    with graph:
        slopes = gradients(loss, list(trained.values()))
        step = case.optimizer().minimize(loss)
    session = Session(graph, "cpu")
    images, labels = case.batch()
    feeds = {network.x: images, y: labels}
    first = dict(zip(trained, session.run(slopes, feeds, training=True), strict=True))
    before = {name: session.value(v) for name, v in network.variables.items()}
    losses = [float(session.run([step, loss], feeds)[1]) for _ in range(STEPS)]
    changes = {name: session.value(v) - before[name] for name, v in network.variables.items()}
    # The real network's weights are up to 1e6 times as large as what ten steps change of them.
    large = {name: float(np.abs(value).max()) if case.private else 0.0 for name, value in before.items()}
    return Run(first, losses, changes, golden, case, {n: v * 2**-24 * STEPS**0.5 for n, v in large.items()})


def compare(what: str, run: Run, ours: Tensors, tolerance: float) -> None:
    """Samples, norm and mean of each tensor; one that is not in the golden file is 0."""
    golden = run.golden
    names = json.loads(str(golden["notes"]))[what]
    assert set(names) <= set(ours)
    assert not any(ours[name].any() for name in set(ours) - set(names))
    rows = zip(names, golden[f"{what}.samples"], golden[f"{what}.moments"], strict=True)
    for name, samples, (norm, mean) in rows:
        value = ours[name].reshape(-1).astype(np.float64)
        scale = norm / np.sqrt(value.size)
        within = tolerance + (run.rounding[name] / scale if what == "changes" else 0.0)
        off = np.abs(run.case.samples(name, value) - samples).max() / scale
        assert off < within, f"{what}: a sample of {name} is off by {off:.1e}"
        assert abs(np.linalg.norm(value) / norm - 1) < within, f"{what}: the norm of {name}"
        assert abs(value.mean() - mean) / scale < within, f"{what}: the mean of {name}"


def test_gradients(run: Run) -> None:
    compare("gradients", run, run.gradients, 3e-5)


def test_ten_optimizer_steps(run: Run) -> None:
    np.testing.assert_allclose(run.losses, run.golden["losses"], rtol=1e-4)
    # Scales of batch norm begin near 1 and move by some 1e-4, and each of ten steps rounds them by up to 6e-8.
    compare("changes", run, run.changes, 3e-3)
