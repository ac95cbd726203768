"""The formats give back what they were given, and the same bytes for the same features."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import get_args

import numpy as np
import pyarrow.parquet
import pytest

from feature_extraction.formats import FORMATS, Format, jsonl, npy, npz, parquet, safe
from models.errors import OutputError

IDS = ["a/1.jpg", 'with "quotes", comma\nand line', "日本.png"]
RNG = np.random.default_rng(0)
ARRAYS = {
    "pool": RNG.standard_normal((3, 5), np.float32),
    "mixed/5": RNG.standard_normal((3, 2, 2, 2), np.float32).astype(np.float16),
}
Read = Callable[[dict[str, bytes]], tuple[list[str], dict[str, np.ndarray]]]


def from_npy(files: dict[str, bytes]) -> tuple[list[str], dict[str, np.ndarray]]:
    arrays = {cut: np.load(io.BytesIO(files[f"part.{safe(cut)}.npy"])) for cut in ARRAYS}
    return json.loads(files["part.ids.json"]), arrays


def from_npz(files: dict[str, bytes]) -> tuple[list[str], dict[str, np.ndarray]]:
    with np.load(io.BytesIO(files["part.npz"])) as archive:
        return archive["ids"].tolist(), {cut: archive[cut] for cut in ARRAYS}


def from_jsonl(files: dict[str, bytes]) -> tuple[list[str], dict[str, np.ndarray]]:
    rows = [json.loads(line) for line in files["part.jsonl"].decode().splitlines()]
    return [row["id"] for row in rows], {
        cut: np.array([row[cut] for row in rows], array.dtype).reshape(-1, *array.shape[1:])
        for cut, array in ARRAYS.items()
    }


def from_parquet(files: dict[str, bytes]) -> tuple[list[str], dict[str, np.ndarray]]:
    table = pyarrow.parquet.read_table(io.BytesIO(files["part.parquet"]))
    arrays = {}
    for cut in ARRAYS:
        shape = json.loads(table.schema.field(cut).metadata[b"shape"])
        arrays[cut] = np.array(table[cut].combine_chunks().flatten()).reshape(len(table), *shape)
    return table["id"].to_pylist(), arrays


READERS: dict[str, Read] = {"npy": from_npy, "npz": from_npz, "jsonl": from_jsonl, "parquet": from_parquet}


@pytest.mark.parametrize("count", [3, 0])
@pytest.mark.parametrize("form", get_args(Format))
def test_features_come_back_bit_by_bit(form: Format, count: int) -> None:
    arrays = {cut: array[:count] for cut, array in ARRAYS.items()}
    files = FORMATS[form]("part", IDS[:count], arrays)
    ids, found = READERS[form](files)
    assert ids == IDS[:count]
    for cut, array in arrays.items():
        assert found[cut].dtype == array.dtype
        assert np.array_equal(found[cut][:count], array)


@pytest.mark.parametrize("form", get_args(Format))
def test_same_features_are_the_same_bytes(form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    first = FORMATS[form]("part", IDS, ARRAYS)
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert FORMATS[form]("part", IDS, ARRAYS) == first


def test_table_of_formats_is_whole() -> None:
    assert set(FORMATS) == set(get_args(Format)) == set(READERS)
    assert list(FORMATS.values()) == [npy, npz, parquet, jsonl]


def test_parquet_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(OutputError, match=r"pip install '\.\[parquet\]'"):
        parquet("part", IDS, ARRAYS)
