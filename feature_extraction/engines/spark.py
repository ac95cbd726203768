"""Spark: a task for each part. An address is a master, such as `spark://head:7077` or `yarn`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

from feature_extraction.engines.job import RETRIES, Job, work
from feature_extraction.parts.making import Outcome
from feature_extraction.parts.planning import PlannedPart
from models.cores import cores


def run(job: Job, parts: Iterable[PlannedPart], address: str | None = None) -> Iterator[Outcome]:
    """What becomes of the parts, once all are done; without an address in processes of this machine, one a core."""
    planned = list(parts)
    if not planned:  # which Spark has no way to share out
        return
    from pyspark.sql import SparkSession

    if address is None:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Of a local master the failures that a task may have stand in its name.
    builder = SparkSession.builder.master(address or f"local[{cores()},{RETRIES}]")
    session = builder.appName("graft features").config("spark.task.maxFailures", RETRIES).getOrCreate()
    context = session.sparkContext
    sent = context.broadcast(job)
    yield from context.parallelize(planned, len(planned)).map(lambda part: work(sent.value, part)).collect()
