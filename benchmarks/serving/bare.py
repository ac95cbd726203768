"""The most that these cores give: threads that decode photos and run the network, without server and network."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Sequence

from benchmarks.serving.load import Outcome
from benchmarks.serving.machine import Usage
from models.cores import cores
from models.model import Model
from models.runtime import RuntimeConfig


class Bare:
    """Loops over photos in some threads, each decoding one and running it; the best of some ways to share cores."""

    def __init__(self, spec: str, device: str = "cpu") -> None:
        self._wide = Model.open(spec, RuntimeConfig(device, threads=cores(), spinning=False, warm_up=True))
        self._narrow = Model.open(spec, RuntimeConfig(device, threads=1, spinning=False, warm_up=True))

    def run(self, bodies: Sequence[bytes], concurrency: int, seconds: float) -> Outcome:
        """One loop is the wide session alone; more are as many as there are cores, or as many as were asked for."""
        if concurrency == 1:
            return self._loop(self._wide, bodies, 1, seconds)
        ways = [(self._narrow, cores()), (self._wide, cores()), (self._narrow, concurrency)]
        outcomes = [self._loop(model, bodies, threads, seconds / len(ways)) for model, threads in ways]
        return max(outcomes, key=lambda outcome: outcome.rate)

    def _loop(self, model: Model, bodies: Sequence[bytes], threads: int, seconds: float) -> Outcome:
        answers: list[tuple[int, float]] = []
        turn = itertools.count()
        usage = Usage(os.getpgid(0))
        usage.start()
        begin = time.perf_counter()

        def work() -> None:
            while (started := time.perf_counter()) < begin + seconds:
                pixels = model.decode(bodies[next(turn) % len(bodies)])
                model.top(model.probabilities(pixels[None])[0])
                answers.append((200, time.perf_counter() - started))

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        seconds = time.perf_counter() - begin
        usage.stop()
        return Outcome.of(answers, seconds, usage)
