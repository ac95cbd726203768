"""How a model is run on this machine, measured: how many runs at once, their threads, and how large a batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.cores import cores
from models.model import Model

_LONGEST_S = 0.5  # of one run: who comes next waits for it
_GAIN = 1.03  # by how much more a larger batch has to give
_APART = 1.05  # by how much more several runs at once have to give: they need a second session
_TRIAL = 0.06  # of the seconds allowed, for each measurement


@dataclass(frozen=True)
class Plan:
    """What was found best. `threads`: of a run that is alone; `crowded_threads`: of one of `runners` at once."""

    threads: int
    crowded_threads: int
    runners: int
    largest: int
    # Images a second of what was tried, by its description.
    rates: dict[str, float] = field(default_factory=dict)

    @property
    def item_s(self) -> float:
        """Seconds of a run for each of its images, when all runners are busy; 0 where nothing was measured."""
        rate = self.rate
        return self.runners / rate if rate else 0.0

    @property
    def rate(self) -> float:
        """Images a second; 0 where nothing was measured."""
        return max(self.rates.values(), default=0.0)

    def __str__(self) -> str:
        rate = self.rate
        how = describe(self.runners, self.crowded_threads, self.largest)
        return f"{how}, {rate:,.0f} images/s measured" if rate else f"{how}, not measured"


def describe(runners: int, threads: int, size: int) -> str:
    """A way to run in words."""
    runs = "one run at a time" if runners == 1 else f"{runners} runs at a time"
    return f"{runs}, {threads} thread{'s' * (threads != 1)} each, up to {size} image{'s' * (size != 1)}"


def default_plan(model: Model) -> Plan:
    """What is taken where nothing is measured: one run at a time on all cores."""
    threads = model.session.config.threads or cores()
    runners = 1 if model.session.device.kind == "cpu" else 2
    return Plan(threads, threads, runners, model.batch_size)


def measured_plan(model: Model, reopened: Callable[[int], Model], seconds: float) -> tuple[Plan, Model]:
    """The fastest plan, and the model to run when several runs are made at once; takes about `seconds`.

    `reopened(threads)` opens the model once more with so many threads for a run.
    """
    plan = default_plan(model)
    sizes = _sizes(model)
    rates: dict[str, float] = {}

    def best_size(candidate: Model, runners: int, threads: int) -> tuple[float, int]:
        best, chosen = 0.0, 1
        for size in sizes:
            rate, run_s = _measured(candidate, runners, size, seconds * _TRIAL)
            rates[describe(runners, threads, size)] = rate
            if rate > best * _GAIN:
                best, chosen = rate, size
            if rate < best / _GAIN or run_s > _LONGEST_S:
                break
        return best, chosen

    rate, size = best_size(model, plan.runners, plan.threads)
    chosen, crowded = Plan(plan.threads, plan.threads, plan.runners, size), model
    if model.session.device.kind == "cpu" and model.session.config.threads is None and plan.threads > 1:
        narrow = reopened(1)
        narrow_rate, narrow_size = best_size(narrow, plan.threads, 1)
        if narrow_rate > rate * _APART:
            chosen, crowded = Plan(plan.threads, 1, plan.threads, narrow_size), narrow
    return Plan(chosen.threads, chosen.crowded_threads, chosen.runners, chosen.largest, rates), crowded


def _sizes(model: Model) -> list[int]:
    if model.card.batch_size is not None:  # the graph takes batches of this size alone
        return [model.card.batch_size]
    return [1 << power for power in range(model.batch_size.bit_length())]


def _measured(model: Model, runners: int, size: int, seconds: float) -> tuple[float, float]:
    """Images a second of `runners` threads that run batches of `size`, and the seconds of one run."""
    height, width = model.card.preprocessing.size
    images: NDArray[np.uint8] = np.zeros((size, height, width, 3), np.uint8)
    model.run(images)  # makes its allocations
    counts = [0] * runners
    began = time.perf_counter()

    def run(number: int) -> None:
        for _ in _until(began + seconds):
            model.run(images)
            counts[number] += 1

    threads = [threading.Thread(target=run, args=(number,)) for number in range(runners)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - began
    return sum(counts) * size / elapsed, elapsed * runners / sum(counts)


def _until(end: float) -> Iterator[None]:
    """At least twice, and until the clock shows `end`."""
    yield
    yield
    while time.perf_counter() < end:
        yield
