"""Dask: a future for each part. An address is that of a scheduler, such as `tcp://head:8786`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any

from feature_extraction.engines.job import AHEAD, RETRIES, Job, lost, work
from feature_extraction.parts.making import Outcome
from feature_extraction.parts.planning import PlannedPart
from models.cores import cores


def run(job: Job, parts: Iterable[PlannedPart], address: str | None = None) -> Iterator[Outcome]:
    """What becomes of the parts, in any order; without an address in processes of this machine, one a core."""
    import dask
    from distributed import Client, LocalCluster, wait

    rest, waiting = iter(parts), dict[Any, PlannedPart]()
    with ExitStack() as context:
        context.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": RETRIES}))
        if address is None:
            cluster = LocalCluster(cores(), threads_per_worker=1, dashboard_address=":0")
            # Where none is left Dask waits.
            context.enter_context(cluster).adapt(minimum=cores(), maximum=cores())
        client = context.enter_context(Client(address or cluster))
        while True:
            room = max(1, AHEAD * sum(client.nthreads().values()) - len(waiting))
            # The job goes with each part: what is scattered goes when the workers that hold it do.
            waiting |= {client.submit(work, job, part, pure=False): part for part in islice(rest, room)}
            if not waiting:
                return
            for future in wait(list(waiting), return_when="FIRST_COMPLETED").done:
                planned, exc = waiting.pop(future), future.exception()
                yield lost(planned, exc) if exc else future.result()
