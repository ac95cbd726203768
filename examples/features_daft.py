"""Features in a pipeline of Daft: a class of its own, a network for each process; failures are rows.

Known answer: the vectors are those of `graft.extract`, and the broken picture's row says why it has none.
"""

from __future__ import annotations

import daft
import pyarrow
from daft import DataType, Series

import graft
from shared.photos import check, table

ROW = DataType.struct({"pool": DataType.list(DataType.float32()), "error": DataType.string()})


@daft.cls
class Pool:
    def __init__(self) -> None:
        self.features = graft.Features(name="path")

    @daft.method.batch(return_dtype=ROW, unnest=True, batch_size=8)
    def __call__(self, path: Series, image: Series) -> list[dict[str, object]]:
        rows = self.features(pyarrow.table({"path": path.to_arrow(), "image": image.to_arrow()}))
        return rows.select(["pool", "error"]).to_pylist()


def main() -> None:
    photos, pool = daft.from_arrow(table()), Pool()
    check(photos.select("path", pool(photos["path"], photos["image"])).to_pylist())


if __name__ == "__main__":
    main()
