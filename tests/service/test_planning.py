"""How a model is run: measured on a real one, and chosen by what was measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from models.model import Model
from models.runtime import RuntimeConfig
from service import planning
from service.planning import default_plan, measured_plan


@pytest.fixture
def model(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    monkeypatch.setattr(planning, "cores", lambda: 4)
    return Model.open(tiny_path, RuntimeConfig("cpu"))


def rated(
    monkeypatch: pytest.MonkeyPatch, rates: dict[tuple[int, int], float], run_s: float = 0.01
) -> list[tuple[int, int]]:
    """Let (runners, size) have these rates, 0 where nothing is said. Returns what is asked for."""
    asked: list[tuple[int, int]] = []

    def measured(model: Model, runners: int, size: int, seconds: float) -> tuple[float, float]:
        asked.append((runners, size))
        return rates.get((runners, size), 0.0), run_s

    monkeypatch.setattr(planning, "_measured", measured)
    return asked


def test_the_fastest_size_is_taken_and_no_larger_one_is_tried(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = rated(monkeypatch, {(1, 1): 100.0, (1, 2): 130.0, (1, 4): 100.0, (1, 8): 190.0, (4, 1): 80.0})
    plan, crowded = measured_plan(model, lambda threads: model, 1.0)
    assert (plan.runners, plan.threads, plan.crowded_threads, plan.largest) == (1, 4, 4, 2)
    assert (1, 8) not in asked
    assert crowded is model
    assert str(plan) == "one run at a time, 4 threads each, up to 2 images, 130 images/s measured"


def test_several_runs_at_once_are_taken_where_they_pay(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    rated(monkeypatch, {(1, 1): 100.0, (4, 1): 120.0, (4, 2): 140.0})
    narrow = object.__new__(Model)
    plan, crowded = measured_plan(model, lambda threads: narrow, 1.0)
    assert (plan.runners, plan.threads, plan.crowded_threads, plan.largest) == (4, 4, 1, 2)
    assert crowded is narrow


def test_a_little_more_is_not_worth_a_second_session(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    rated(monkeypatch, {(1, 1): 100.0, (4, 1): 104.0})
    assert measured_plan(model, lambda threads: model, 1.0)[0].runners == 1


def test_runs_that_take_long_are_not_made_longer(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = rated(monkeypatch, {(1, size): 10.0 * size for size in (1, 2, 4, 8)}, run_s=0.6)
    assert measured_plan(model, lambda threads: model, 1.0)[0].largest == 1
    assert asked == [(1, 1), (4, 1)]


def test_threads_that_were_asked_for_stay(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model.open(tiny_path, RuntimeConfig("cpu", threads=2))
    rated(monkeypatch, {(1, 1): 100.0})
    plan, _ = measured_plan(model, lambda threads: pytest.fail("opened with other threads"), 1.0)
    assert (plan.runners, plan.threads) == (1, 2)


def test_a_graph_of_one_batch_size_keeps_it(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model.card = dataclasses.replace(model.card, batch_size=3)
    asked = rated(monkeypatch, {(1, 3): 100.0})
    assert measured_plan(model, lambda threads: model, 1.0)[0].largest == 3
    assert {size for _, size in asked} == {3}


def test_measuring_runs_the_model(model: Model) -> None:
    rate, run_s = planning._measured(model, 2, 4, 0.0)
    assert rate > 0
    assert run_s > 0


def test_nothing_measured_is_said(model: Model) -> None:
    assert str(default_plan(model)).endswith("up to 8 images, not measured")
