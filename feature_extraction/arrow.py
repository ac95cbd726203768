"""Features in pipelines of other engines: Arrow tables in, Arrow tables out, failures as rows."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from feature_extraction.items import ImageItem, failing_item, file_item, held_item
from feature_extraction.worker import Rows, Worker
from models.config import DEFAULT_MODEL
from models.errors import GraftError, ImageError, InputError
from models.features import FeatureOptions, Pool, open_features
from models.runtime import RuntimeConfig

if TYPE_CHECKING:
    import pyarrow

ERROR = "error"
_LOCK = threading.Lock()
_workers: dict[str, Worker] = {}  # of this process
_Table = TypeVar("_Table", "pyarrow.Table", "pyarrow.RecordBatch")


class Features:
    """Turns a column of images into columns of features, for Ray Data, Spark, Dask, Daft and whatever speaks Arrow.

    It can be pickled, and is small: its network is opened when it is first called, once in a process for all that are
    alike, however often an engine sends it there.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        cut: str | None = None,
        *,
        pool: Pool = FeatureOptions.pool,
        normalize: bool = False,
        image: str = "image",
        name: str | None = None,
        config: RuntimeConfig | None = None,
    ) -> None:
        """`cut`, `pool`, `normalize`: as `feature_extraction.extract` takes them.

        `image`: the column of images, which are encoded bytes, paths, or structs with one of both called `bytes` or
        `path`. `name`: a column by which errors call those that are bytes; without it they are called by the numbers of
        their rows, as those that are paths are by these. `config`: one thread on the CPU unless told, for engines run a
        process on each core.
        """
        self.model, self.image, self.name = model, image, name
        self.options = FeatureOptions((cut,) if cut else (), pool, "l2" if normalize else None)
        self.config = config or RuntimeConfig("cpu", threads=1)

    def __call__(self, table: _Table) -> _Table:
        """The table without its images, with a list of float32 for each cut, and `error`: null where there is none.

        Raises:
            InputError: it has no column of images, or one of something else, or columns called as those that come.
            ModelError: the network cannot be opened, or fails.
        """
        import pyarrow

        schema = self.schema(table.schema)
        columns = {name: table.column(name) for name in table.schema.names if name != self.image}
        results = list(self._results(list(self._items(table))))
        for i, cut in enumerate(self._worker.cuts):
            values = [None if isinstance(rows, GraftError) else rows[i].reshape(-1) for rows in results]
            columns[cut] = pyarrow.array(values, pyarrow.list_(pyarrow.float32()))
        errors = [str(rows) if isinstance(rows, GraftError) else None for rows in results]
        columns[ERROR] = pyarrow.array(errors, pyarrow.string())
        return type(table).from_arrays(list(columns.values()), schema=schema)

    def batches(self, tables: Iterable[_Table]) -> Iterator[_Table]:
        """One after the other, as Spark's `mapInArrow` hands them over."""
        return map(self, tables)

    def schema(self, given: pyarrow.Schema) -> pyarrow.Schema:
        """What comes of a table with this schema; the network is opened for that.

        Raises:
            InputError: it has no column of images or of names, or a column would be there twice.
        """
        import pyarrow

        wanted = {"image": self.image, **({"name": self.name} if self.name else {})}
        for option, column in wanted.items():
            if column not in given.names:
                raise InputError(
                    f"no column {column}; the table has {', '.join(given.names)}. Name the one with the {option}s: "
                    f"Features({option}=...)."
                )
        features = [pyarrow.field(cut, pyarrow.list_(pyarrow.float32())) for cut in self._worker.cuts]
        fields = [field for field in given if field.name != self.image]
        schema = pyarrow.schema([*fields, *features, pyarrow.field(ERROR, pyarrow.string())])
        if twice := sorted({name for name in schema.names if schema.names.count(name) > 1}):
            raise InputError(
                f"columns that would be there twice: {', '.join(twice)}; features are called after their cuts, errors "
                f"{ERROR}. Rename the table's own, or leave them out."
            )
        return schema

    def _results(self, items: list[ImageItem]) -> Iterator[Rows | GraftError]:
        size = self._worker.features.model.batch_size
        for begin in range(0, len(items), size):
            for _, result in self._worker.results(items[begin : begin + size]):
                yield result

    def _items(self, table: pyarrow.Table | pyarrow.RecordBatch) -> Iterator[ImageItem]:
        names = table.column(self.name) if self.name else range(table.num_rows)
        for name, scalar in zip(names, table.column(self.image), strict=True):
            yield _item(str(name), scalar.as_py())

    @property
    def _worker(self) -> Worker:
        key = repr((str(self.model), self.options, self.config))
        with _LOCK:
            if key not in _workers:
                _workers[key] = Worker(open_features(self.model, self.options, self.config))
            return _workers[key]


def _item(name: str, image: object) -> ImageItem:
    """The image in a cell."""
    if isinstance(image, dict):
        image = image["bytes"] if image.get("bytes") is not None else image.get("path")
    if isinstance(image, bytes):
        return held_item(name, image)
    if isinstance(image, str):
        return file_item(image)
    if image is None:
        return failing_item(
            name, ImageError(f"{name}: there is no image in this row. Fill it, or leave the row out.")
        )
    raise InputError(
        f"{name}: its image is of type {type(image).__name__}; expected encoded bytes, a path, or a struct with one of "
        "both. Name another column: Features(image=...)."
    )
