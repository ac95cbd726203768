"""Dask: a future for each part. An address is that of a scheduler, such as `tcp://head:8786`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice

from feature_extraction.engines.job import RETRIES, Job, lost, work
from feature_extraction.parts.making import Outcome
from feature_extraction.parts.planning import PlannedPart
from models.cores import cores

_AHEAD = 4  # parts for each core that are handed out at a time


def run(job: Job, parts: Iterable[PlannedPart], address: str | None = None) -> Iterator[Outcome]:
    """What becomes of the parts, in any order; without an address in processes of this machine, one a core."""
    import dask
    from distributed import Client, LocalCluster, as_completed

    with ExitStack() as context:
        context.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": RETRIES}))
        if address is None:
            count = cores()
            cluster = context.enter_context(LocalCluster(count, threads_per_worker=1, dashboard_address=":0"))
            cluster.adapt(minimum=count, maximum=count)  # Dask waits for ever where none is left
            address = cluster.scheduler_address
        client = context.enter_context(Client(address))
        # The job goes with each part: what is scattered goes when the workers that hold it do.
        submit, rest = partial(client.submit, work, job, pure=False), iter(parts)
        ahead = _AHEAD * max(1, sum(client.nthreads().values()))
        waiting = {submit(planned): planned for planned in islice(rest, ahead)}
        futures = as_completed(waiting)
        for future in futures:
            planned, exc = waiting.pop(future), future.exception()
            yield lost(planned, exc) if exc else future.result()
            for following in islice(rest, 1):
                future = submit(following)
                waiting[future] = following
                futures.add(future)
