"""Arrow tables in, Arrow tables out, as engines hand them over."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from feature_extraction import Features, extract
from models.errors import CutError, InputError
from models.features import open_features
from tests import optional
from tests.fixtures import plain

pyarrow = optional.library("pyarrow", extra="parquet")


@pytest.fixture(scope="module")
def features(tiny_path: Path) -> Features:
    return Features(tiny_path)


def test_failures_are_rows_and_other_columns_stay(features: Features) -> None:
    images = [plain((i, 0, 0), (16, 16)) for i in range(20)]
    table = pyarrow.table({"number": range(23), "image": [*images, b"broken", None, b""]})
    result = features(table)
    assert result.schema == features.schema(table.schema)
    assert result.column_names == ["number", "pool", "error"]
    assert result["number"].to_pylist() == list(range(23))
    vectors, errors = result["pool"].to_pylist(), result["error"].to_pylist()
    assert errors[:20] == [None] * 20
    assert vectors[20:] == [None] * 3
    assert errors[20].startswith("20: not an image that can be read")
    assert errors[21].startswith("21: there is no image in this row")
    assert errors[22].startswith("22: the file is empty")
    assert np.allclose(np.array(vectors[:20])[:, 0] * 255, np.arange(20))


def test_values_are_those_of_extract(features: Features, tiny_path: Path) -> None:
    images = [plain((i, 3 * i, 9), (16, 16)) for i in range(5)]
    (_, expected), *_ = extract(images, tiny_path)
    batch = pyarrow.record_batch({"image": images})
    assert np.array_equal(np.array(features(batch)["pool"].to_pylist(), np.float32), expected)


def test_images_are_bytes_paths_or_structs_of_both(tiny_path: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(plain("red", (16, 16)))
    path, data = str(tmp_path / "a.png"), plain("red", (16, 16))
    for column in ([path], [data], [{"bytes": data, "path": None}], [{"bytes": None, "path": path}]):
        result = Features(tiny_path, image="photo")(pyarrow.table({"photo": column}))
        assert result["pool"].to_pylist() == [[1, 0, 0]]
    emptied = Features(tiny_path)(pyarrow.table({"image": [{"bytes": b"", "path": path}]}))
    # The file of that name is not asked.
    assert emptied["error"][0].as_py().startswith("0: the file is empty")
    missing = Features(tiny_path)(pyarrow.table({"image": [str(tmp_path / "none.png")]}))
    assert "none.png: no such file" in missing["error"][0].as_py()


def test_errors_call_rows_by_a_column_of_names(tiny_path: Path) -> None:
    table = pyarrow.table({"path": ["s3://a/b.png"], "image": [b"broken"]})
    result = Features(tiny_path, name="path")(table)
    assert result["error"][0].as_py().startswith("s3://a/b.png: not an image")


def test_table_without_images_and_without_rows(features: Features) -> None:
    empty = pyarrow.table({"image": pyarrow.array([], pyarrow.binary())})
    assert features(empty).num_rows == 0
    with pytest.raises(InputError, match=r"no column image; the table has photo\. Name the one"):
        features(pyarrow.table({"photo": [b""]}))
    with pytest.raises(InputError, match=r"no column id; the table has image\. .*Features\(name="):
        Features(features.model, name="id")(pyarrow.table({"image": [b""]}))
    with pytest.raises(InputError, match="0: its image is of type int; expected encoded bytes, a path"):
        features(pyarrow.table({"image": [7]}))


@pytest.mark.parametrize("names", [("image", "error"), ("image", "pool"), ("image", "own", "own")])
def test_column_that_would_be_there_twice_is_refused(features: Features, names: tuple[str, ...]) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array([b"x"])] * len(names), names=list(names))
    with pytest.raises(InputError, match=f"there twice: {names[-1]}; .* Rename the table's own"):
        features(table)


def test_it_can_be_sent_and_opens_one_network_in_a_process(
    tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def counting(*arguments: object) -> object:
        opened.append(arguments)
        return open_features(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("feature_extraction.arrow.open_features", counting)
    monkeypatch.setattr("feature_extraction.arrow._workers", {})
    table = pyarrow.table({"image": [plain("blue", (16, 16))]})
    features = Features(tiny_path)
    first = features(table)
    data = pickle.dumps(features)
    assert len(data) < 1000  # no network
    assert pickle.loads(data)(table) == first
    assert len(opened) == 1
    assert Features(tiny_path, "logits")(table).column_names == ["logits", "error"]


def test_batches_come_lazily(features: Features) -> None:
    batches = (pyarrow.record_batch({"image": [image]}) for image in (plain("red", (16, 16)), b"x"))
    stream = features.batches(batches)
    assert next(stream)["pool"].to_pylist() == [[1, 0, 0]]
    assert next(stream)["pool"].to_pylist() == [None]


def test_maps_are_one_long_list_and_unknown_cuts_are_refused(tiny_path: Path) -> None:
    table = pyarrow.table({"image": [plain("red", (16, 16))]})
    result = Features(tiny_path, "scaled", pool="none")(table)
    assert len(result["scaled"][0]) == 16 * 16 * 3
    with pytest.raises(CutError, match="nonsense"):
        Features(tiny_path, "nonsense")(table)
