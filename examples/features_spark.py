"""Features in a pipeline of Spark: `mapInArrow`, a network for each process; failures are rows.

Known answer: the vectors are those of `graft.extract`, and the broken picture's row says why it has none.
"""

from __future__ import annotations

import os
import sys

from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

import graft
from shared.photos import check, table


def main() -> None:
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    session = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    features, photos = graft.Features(name="path"), table()
    rows = session.createDataFrame(photos).mapInArrow(
        features.batches, from_arrow_schema(features.schema(photos.schema))
    )
    check(row.asDict() for row in rows.collect())
    session.stop()


if __name__ == "__main__":
    main()
