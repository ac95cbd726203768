"""Features in a pipeline of Ray Data: actors with a network each; failures are rows.

Known answer: the vectors are those of `graft.extract`, and the broken picture's row says why it has none.
"""

from __future__ import annotations

import os

import ray

import graft
from shared.photos import check, table


def main() -> None:
    os.environ.setdefault("RAY_worker_niceness", "0")
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    rows = ray.data.from_arrow(table()).map_batches(
        graft.Features,
        fn_constructor_kwargs={"name": "path"},
        batch_format="pyarrow",
        batch_size=8,
        # A range: a fixed number that leaves less than one core would keep what reads waiting for ever.
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=2),
        # A table that ends its process is tried again twice; Ray Data's own -1 is for ever.
        max_task_retries=2,
    )
    check(rows.take_all())
    ray.shutdown()


if __name__ == "__main__":
    main()
