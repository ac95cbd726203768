"""Ray: a task for each part, on one core each. An address is one that `ray.init` takes, such as `ray://head:10001`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from feature_extraction.engines.job import AHEAD, RETRIES, Job, lost, work
from feature_extraction.parts.making import Outcome
from feature_extraction.parts.planning import PlannedPart


def run(job: Job, parts: Iterable[PlannedPart], address: str | None = None) -> Iterator[Outcome]:
    """What becomes of the parts, in any order; without an address where `RAY_ADDRESS` says, else on this machine."""
    import ray

    if not ray.is_initialized():
        # Its own niceness, 15, leaves the cores to whoever else wants them.
        os.environ.setdefault("RAY_worker_niceness", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(address, include_dashboard=False, log_to_driver=False)
    task = ray.remote(num_cpus=1, max_retries=RETRIES)(work)
    sent, rest, waiting = ray.put(job), iter(parts), dict[Any, PlannedPart]()
    while True:
        room = max(1, int(AHEAD * ray.cluster_resources().get("CPU", 1)) - len(waiting))
        waiting |= {task.remote(sent, planned): planned for planned in islice(rest, room)}
        if not waiting:
            return
        (reference, *_), _ = ray.wait(list(waiting))
        planned = waiting.pop(reference)
        try:
            yield ray.get(reference)
        except ray.exceptions.RayError as exc:
            yield lost(planned, exc)
