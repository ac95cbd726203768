"""How a model is run: measured on a real one, and chosen by what was measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from models.model import Model
from models.runtime import RuntimeConfig
from service import planning
from service.planning import all_cores, default_plan, measured_plan


@pytest.fixture
def model(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setattr(planning, "cores", lambda: 4)
    return Model.open(tiny_path, RuntimeConfig("cpu"))


Rates = dict[tuple[int, int], float]


def rated(monkeypatch: pytest.MonkeyPatch, rates: Rates, run_s: float = 0.01) -> list[tuple[int, int]]:
    """Let (runners, size) have these rates, 1 where nothing is said. Returns what is asked for."""
    asked: list[tuple[int, int]] = []

    def run(trial: planning._Trial, seconds: float) -> None:
        asked.append((trial.runners, trial.size))
        trial.rate, trial.run_s = rates.get((trial.runners, trial.size), 1.0), run_s * trial.size

    monkeypatch.setattr(planning._Trial, "run", run)
    return asked


def test_the_smallest_of_the_fast_sizes_is_taken(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    rated(monkeypatch, {(1, 1): 100.0, (1, 2): 130.0, (1, 4): 132.0, (1, 8): 90.0, (4, 1): 80.0})
    plan, crowded = measured_plan(model, lambda threads: model, 0.0)
    assert (plan.runners, plan.threads, plan.crowded_threads, plan.largest) == (1, 4, 4, 2)
    assert crowded is model
    assert str(plan) == "one run at a time, 4 threads each, up to 2 images, 132 images/s measured"


def test_several_runs_at_once_are_taken_where_they_pay(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    rated(monkeypatch, {(1, 1): 100.0, (4, 1): 120.0, (4, 2): 140.0})
    narrow = Model(model.session, model.card)
    plan, crowded = measured_plan(model, lambda threads: narrow, 0.0)
    assert (plan.runners, plan.threads, plan.crowded_threads, plan.largest) == (4, 4, 1, 2)
    assert crowded is narrow


def test_several_runs_at_once_may_give_a_little_less(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """They leave cores to those who decode."""
    rated(monkeypatch, {(1, 1): 100.0, (4, 1): 97.0})
    assert measured_plan(model, lambda threads: model, 0.0)[0].runners == 4
    rated(monkeypatch, {(1, 1): 100.0, (4, 1): 93.0})
    assert measured_plan(model, lambda threads: model, 0.0)[0].runners == 1


def test_a_batch_that_gives_little_more_is_not_waited_for(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    rated(monkeypatch, {(1, 1): 100.0, (1, 2): 102.0})
    assert measured_plan(model, None, 0.0)[0].largest == 1


def test_runs_that_take_long_are_not_made_longer(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    rated(monkeypatch, {(1, size): 10.0 * size for size in (1, 2, 4, 8)}, run_s=0.6)
    assert measured_plan(model, lambda threads: model, 0.0)[0].largest == 1


def test_threads_that_were_asked_for_stay(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model.open(tiny_path, RuntimeConfig("cpu", threads=2))
    rated(monkeypatch, {(1, 1): 100.0})
    plan, _ = measured_plan(model, None, 0.0)
    assert (plan.runners, plan.threads) == (1, 2)


def test_a_graph_of_one_batch_size_keeps_it(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model.card = dataclasses.replace(model.card, batch_size=3)
    asked = rated(monkeypatch, {(1, 3): 100.0})
    assert measured_plan(model, lambda threads: model, 0.0)[0].largest == 3
    assert {size for _, size in asked} == {3}


def test_measuring_runs_the_model(model: Model) -> None:
    trial = planning._Trial(model, 2, 1, 4)
    trial.run(0.0)
    assert trial.rate > 0
    assert trial.run_s < 60


def test_nothing_measured_is_said(model: Model) -> None:
    assert str(default_plan(model)).endswith("up to 8 images, not measured")


def test_threads_of_a_run_that_may_be_alone_spin_for_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "cores", lambda: 4)
    monkeypatch.setattr(planning.onnxruntime, "__version__", "1.31.1")
    runtime = all_cores(RuntimeConfig("cpu"))
    assert runtime.threads == 4
    assert runtime.session_options == {
        "session.intra_op.allow_spinning": "1",
        "session.intra_op.spin_duration_us": "20",
    }
    assert (
        all_cores(
            RuntimeConfig("cpu", session_options={"session.intra_op.spin_duration_us": "7"})
        ).session_options["session.intra_op.spin_duration_us"]
        == "7"
    )
    # One thread has none to wait for; who asks for spinning has all of it; older versions spin long or not at all.
    assert not all_cores(RuntimeConfig("cpu", threads=1)).session_options
    assert not all_cores(RuntimeConfig("cpu", spinning=True)).session_options
    monkeypatch.setattr(planning.onnxruntime, "__version__", "1.24.0")
    assert all_cores(RuntimeConfig("cpu")) == RuntimeConfig("cpu", threads=4)


def test_spinning_changes_no_answer(tiny_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = np.random.default_rng(0).integers(
        0, 256, (1, *Model.open(tiny_path).card.preprocessing.size, 3), np.uint8
    )
    runtime = RuntimeConfig("cpu", threads=2)
    plain, spinning = Model.open(tiny_path, runtime), Model.open(tiny_path, all_cores(runtime))
    assert spinning.session.config.session_options
    assert np.array_equal(plain.probabilities(image), spinning.probabilities(image))
    assert capfd.readouterr() == ("", "")  # onnxruntime has nothing to say of it
