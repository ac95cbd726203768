"""Features in a pipeline of Dask: a future for each table, a network for each process; failures are rows.

Known answer: the vectors are those of `graft.extract`, and the broken picture's row says why it has none.
"""

from __future__ import annotations

from distributed import Client, LocalCluster

import graft
from shared.photos import check, table


def main() -> None:
    photos = table()
    with (
        LocalCluster(2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        tables = [photos.slice(begin, 8) for begin in range(0, len(photos), 8)]
        # Dask takes slices of one table for the same, and would compute the first for all of them.
        futures = client.map(graft.Features(name="path"), tables, pure=False)
        check(row for future in futures for row in future.result().to_pylist())


if __name__ == "__main__":
    main()
