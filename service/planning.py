"""How a model is run on this machine, measured: how many runs at once, their threads, and how large a batch."""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.cores import cores
from models.model import Model
from models.runtime import RuntimeConfig

_LONGEST_S = 0.5  # of one run: who comes next waits for it
# By how much more a larger batch has to give: what was measured is not as exact, and who is in it waits for the others.
_GAIN = 1.03
# How much several runs of one thread at once may give of one run with all cores: photos are decoded on these cores,
# too, and a run that waits for a thread of its own there gives less than was measured.
_APART = 0.95
# Between two operators the threads of a run wait for some microseconds. To sleep and be woken takes as long as many an
# operator does; to spin for longer keeps a core from who decodes.
_SPIN = {"session.intra_op.allow_spinning": "1", "session.intra_op.spin_duration_us": "20"}
_CAN_SPIN = (1, 31)  # onnxruntime 1.24 does not know the second, and would spin for long
_SHARE = 0.03  # of the seconds allowed, for one turn of a way to run


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


def all_cores(runtime: RuntimeConfig) -> RuntimeConfig:
    """The runtime of a model that is served, whose run may be alone.

    Its threads are said: a quota of the container counts, which onnxruntime does not look at. They spin for moments.
    """
    threads = runtime.threads or cores()
    version = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
    if threads == 1 or runtime.spinning or version < _CAN_SPIN:
        return dataclasses.replace(runtime, threads=threads)
    options = {**_SPIN, **runtime.session_options}
    return dataclasses.replace(runtime, threads=threads, session_options=options)


def describe(runners: int, threads: int, size: int) -> str:
    """A way to run in words."""
    runs = "one run at a time" if runners == 1 else f"{runners} runs at a time"
    return f"{runs}, {threads} thread{'s' * (threads != 1)} each, up to {size} image{'s' * (size != 1)}"


def default_plan(model: Model) -> Plan:
    """What is taken where nothing is measured: one run at a time on all cores."""
    threads = model.session.config.threads or cores()
    runners = 1 if model.session.device.kind == "cpu" else 2
    return Plan(threads, threads, runners, model.batch_size)


def measured_plan(
    model: Model, reopened: Callable[[int], Model] | None, seconds: float
) -> tuple[Plan, Model]:
    """The fastest plan, and the model to run when several runs are made at once; takes about `seconds`.

    `reopened(threads)` opens the model once more with so many threads for a run; None where they are not to change.
    """
    plan = default_plan(model)
    ways = {(plan.runners, plan.threads): model}
    if reopened is not None and model.session.device.kind == "cpu" and plan.threads > 1:
        ways[plan.threads, 1] = reopened(1)
    trials = [_Trial(way, *key, size) for key, way in ways.items() for size in _sizes(model)]
    end = time.perf_counter() + seconds
    # In turns: a busy time of the machine then hits no way alone.
    while True:
        for trial in trials:
            trial.run(seconds * _SHARE)
        trials = [trial for trial in trials if trial.run_s <= _LONGEST_S or trial.size == _sizes(model)[0]]
        if time.perf_counter() >= end:
            break
    rates = {describe(trial.runners, trial.threads, trial.size): trial.rate for trial in trials}
    best = trials[0]
    for trial in trials[1:]:
        costs = _GAIN if (trial.runners, trial.threads) == (best.runners, best.threads) else _APART
        if trial.rate > best.rate * costs:
            best = trial
    return Plan(plan.threads, best.threads, best.runners, best.size, rates), best.model


def _sizes(model: Model) -> list[int]:
    if model.card.batch_size is not None:  # the graph takes batches of this size alone
        return [model.card.batch_size]
    return [1 << power for power in range(model.batch_size.bit_length())]


class _Trial:
    """One way to run, and what it gave."""

    def __init__(self, model: Model, runners: int, threads: int, size: int) -> None:
        self.model, self.runners, self.threads, self.size = model, runners, threads, size
        self.rate, self.run_s = 0.0, math.inf
        self._times: list[float] = []  # of single runs
        height, width = model.card.preprocessing.size
        self._images: NDArray[np.uint8] = np.zeros((size, height, width, 3), np.uint8)

    def run(self, seconds: float) -> None:
        """Let all runners run for some time, at least twice each."""
        self.model.run(self._images)  # makes its allocations
        times: list[list[float]] = [[] for _ in range(self.runners)]
        end = time.perf_counter() + seconds

        def work(own: list[float]) -> None:
            while len(own) < 2 or time.perf_counter() < end:
                began = time.perf_counter()
                self.model.run(self._images)
                own.append(time.perf_counter() - began)

        threads = [threading.Thread(target=work, args=(own,)) for own in times]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for own in times:
            self._times += own
        # Of every fourth run, or faster: others take the machine away now and then.
        self.run_s = sorted(self._times)[len(self._times) // 4]
        self.rate = self.runners * self.size / self.run_s
