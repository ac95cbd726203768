"""Ray: a task for each part, on one core each. An address is one that `ray.init` takes, such as `ray://head:10001`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from feature_extraction.engines.job import RETRIES, Job, lost, work
from feature_extraction.parts.making import Outcome
from feature_extraction.parts.planning import PlannedPart

_AHEAD = 4  # parts for each core that are handed out at a time


def run(job: Job, parts: Iterable[PlannedPart], address: str | None = None) -> Iterator[Outcome]:
    """What becomes of the parts, in any order; without an address where `RAY_ADDRESS` says, else on this machine."""
    import ray

    if not ray.is_initialized():
        os.environ.setdefault(
            "RAY_worker_niceness", "0"
        )  # its own, 15, leaves the cores to whoever else wants them
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address, include_dashboard=False, log_to_driver=False)
    task = ray.remote(num_cpus=1, max_retries=RETRIES)(work)
    sent, waiting = ray.put(job), dict[Any, PlannedPart]()
    for planned in parts:
        waiting[task.remote(sent, planned)] = planned
        while len(waiting) >= _AHEAD * ray.cluster_resources().get("CPU", 1):
            yield _next(waiting)
    while waiting:
        yield _next(waiting)


def _next(waiting: dict[Any, PlannedPart]) -> Outcome:
    import ray

    (reference, *_), _ = ray.wait(list(waiting))
    planned = waiting.pop(reference)
    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.RayError as exc:
        return lost(planned, exc)
    return outcome
