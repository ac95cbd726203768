"""How a part of the features is written: NumPy files, NumPy archives, JSON lines or Parquet.

The same features give the same bytes: nothing here writes a time or an order that could differ.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from models.errors import OutputError
from models.extras import how_to_install
from models.runtime import Array

Format = Literal["npy", "npz", "parquet", "jsonl"]
Encode = Callable[[str, Sequence[str], Mapping[str, Array]], dict[str, bytes]]


def npy(stem: str, ids: Sequence[str], arrays: Mapping[str, Array]) -> dict[str, bytes]:
    """One `.npy` file a cut, (N, ...), and the ids as a JSON list."""
    files = {f"{stem}.{safe(cut)}.npy": _npy(array) for cut, array in arrays.items()}
    return {**files, f"{stem}.ids.json": json.dumps(list(ids)).encode()}


def npz(stem: str, ids: Sequence[str], arrays: Mapping[str, Array]) -> dict[str, bytes]:
    """One `.npz` file with `ids`, text (N,), and an array for each cut."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in {"ids": np.array(ids, np.str_), **arrays}.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), _npy(array))  # ZipInfo's own date is 1980
    return {f"{stem}.npz": stream.getvalue()}


def jsonl(stem: str, ids: Sequence[str], arrays: Mapping[str, Array]) -> dict[str, bytes]:
    """One JSON object a line: `id`, and a list of numbers for each cut, nested as its shape is."""
    lines = []
    for i, name in enumerate(ids):
        fields = [f'"id": {json.dumps(name)}']
        fields += [f"{json.dumps(cut)}: {_numbers(array[i])}" for cut, array in arrays.items()]
        lines.append(f"{{{', '.join(fields)}}}\n")
    return {f"{stem}.jsonl": "".join(lines).encode()}


def parquet(stem: str, ids: Sequence[str], arrays: Mapping[str, Array]) -> dict[str, bytes]:
    """One Parquet file: `id`, and a list of fixed size for each cut; `shape` stands in the field's metadata.

    Raises:
        OutputError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet as writer
    except ImportError as exc:
        raise OutputError(
            f"Parquet files need pyarrow, which is not installed. Install it with {how_to_install('parquet')}; or "
            "choose --format npy, npz or jsonl."
        ) from exc
    fields, columns = [pyarrow.field("id", pyarrow.string())], [pyarrow.array(ids, pyarrow.string())]
    for cut, array in arrays.items():
        shape = array.shape[1:]
        values = pyarrow.array(array.reshape(-1))
        column = pyarrow.FixedSizeListArray.from_arrays(values, int(np.prod(shape)))
        fields.append(pyarrow.field(cut, column.type, metadata={"shape": json.dumps(shape)}))
        columns.append(column)
    stream = io.BytesIO()
    writer.write_table(pyarrow.table(columns, schema=pyarrow.schema(fields)), stream)
    return {f"{stem}.parquet": stream.getvalue()}


FORMATS: dict[Format, Encode] = {"npy": npy, "npz": npz, "parquet": parquet, "jsonl": jsonl}


def safe(name: str) -> str:
    """A tensor's name as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _npy(array: Array) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()


def _numbers(array: Array) -> str:
    """Numbers with as many digits as tell every float32 (or float16) from its neighbours."""
    if array.ndim > 1:
        return f"[{', '.join(_numbers(part) for part in array)}]"
    digits = "%.9g" if array.dtype == np.float32 else "%.5g"
    return f"[{', '.join(digits % value for value in array.tolist())}]"
