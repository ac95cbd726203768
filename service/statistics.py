"""How often and how long each version of a model has worked, summed up for the statistics of Triton's clients."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from service.records import RequestRecord, StageName
from service.tickets import BatchReport

STATISTICS = "graft_statistics"  # in the application's extensions: `Statistics`


@dataclass
class Sum:
    """How many there were, and their seconds together."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Another one."""
        self.count += 1
        self.seconds += seconds


@dataclass
class Totals:
    """What is known of one version."""

    requests: Sum = field(default_factory=Sum)  # that were answered
    failures: Sum = field(default_factory=Sum)
    images: int = 0
    stages: defaultdict[StageName, Sum] = field(default_factory=lambda: defaultdict(Sum))
    runs: defaultdict[int, Sum] = field(default_factory=lambda: defaultdict(Sum))  # by images in a run
    last_at: float = 0.0  # by the clock of the world


class Statistics:
    """Totals by name and version. `request` and `run` add to them, from any thread."""

    def __init__(self) -> None:
        self._totals: defaultdict[tuple[str, int], Totals] = defaultdict(Totals)
        self._changing = threading.Lock()

    def request(self, record: RequestRecord) -> None:
        """A request has its answer."""
        if not record.model:
            return
        seconds = record.ended - record.began
        with self._changing:
            totals = self._totals[record.model, record.version]
            totals.images += record.outcomes["answered"]
            totals.last_at = time.time()
            (totals.requests if record.status < 400 else totals.failures).add(seconds)
            if record.status < 400:
                for stage in record.stages:
                    totals.stages[stage.name].add(stage.seconds)

    def run(self, name: str, version: int, report: BatchReport) -> None:
        """A model has run."""
        with self._changing:
            self._totals[name, version].runs[report.size].add(report.seconds)

    def of(self, name: str, version: int) -> Totals:
        """A copy of what is known of a version."""
        with self._changing:
            totals = self._totals.get((name, version), Totals())
            return Totals(
                Sum(**vars(totals.requests)),
                Sum(**vars(totals.failures)),
                totals.images,
                defaultdict(Sum, {stage: Sum(**vars(one)) for stage, one in totals.stages.items()}),
                defaultdict(Sum, {size: Sum(**vars(one)) for size, one in totals.runs.items()}),
                totals.last_at,
            )

    def keep(self, served: Collection[tuple[str, int]]) -> None:
        """Forget all versions but these."""
        with self._changing:
            for key in self._totals.keys() - set(served):
                del self._totals[key]
