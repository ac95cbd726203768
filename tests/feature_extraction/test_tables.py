"""Tables that a program holds: of the libraries themselves, where they are installed."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from feature_extraction.items import read_item
from feature_extraction.opening import open_images
from feature_extraction.tables import is_missing
from models.errors import ImageError, SourceError
from tests import optional
from tests.fixtures import plain

RED, BLUE = plain("red"), plain("blue")


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    for name, data in (("a.png", RED), ("b.png", BLUE)):
        (tmp_path / name).write_bytes(data)
    return [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


def pandas(columns: dict[str, list[Any]]) -> Any:
    return optional.library("pandas", extra="tables").DataFrame(columns)


def polars(columns: dict[str, list[Any]]) -> Any:
    return optional.library("polars", extra="tables").DataFrame(columns)


def arrow(columns: dict[str, list[Any]]) -> Any:
    return optional.library("pyarrow", extra="parquet").table(columns)


def hugging(columns: dict[str, list[Any]]) -> Any:
    return optional.library("datasets", extra="tables").Dataset.from_dict(columns)


@pytest.mark.parametrize("kind", [pandas, polars, arrow, hugging])
def test_paths_name_the_images(kind: Any, paths: list[str]) -> None:
    items = list(open_images(kind({"label": ["x", "y"], "File": paths})))
    assert [read_item(item) for item in items] == [RED, BLUE]
    if kind is not hugging:
        assert [item.id for item in items] == paths


@pytest.mark.parametrize("kind", [pandas, polars, arrow, hugging])
def test_cells_may_hold_bytes(kind: Any) -> None:
    """As Parquet files of Hugging Face have them, too: pairs of path and bytes."""
    assert [read_item(item) for item in open_images(kind({"image": [RED, BLUE]}))] == [RED, BLUE]
    pairs = [{"bytes": RED, "path": "train/a.png"}, {"bytes": BLUE, "path": None}]
    items = list(open_images(kind({"image": pairs})))
    assert [read_item(item) for item in items] == [RED, BLUE]
    assert [item.id for item in items][1] == "1"


def test_empty_bytes_are_no_path(paths: list[str]) -> None:
    (item,) = open_images([{"image": {"bytes": b"", "path": paths[0]}}])
    assert read_item(item) == b""  # what decodes it will say so


def test_pillow_images_in_a_frame() -> None:
    images = [Image.open(io.BytesIO(data)) for data in (RED, BLUE)]
    assert [read_item(item) for item in open_images(pandas({"image": images}))] == images


def test_images_of_hugging_face_are_decoded_when_they_are_read(paths: list[str]) -> None:
    datasets = optional.library("datasets", extra="tables")
    dataset = hugging({"image": paths}).cast_column("image", datasets.Image())
    pixels = [np.asarray(read_item(item)) for item in open_images(dataset)]
    assert [tuple(one[0, 0]) for one in pixels] == [(255, 0, 0), (0, 0, 255)]
    streamed = [np.asarray(read_item(item)) for item in open_images(dataset.to_iterable_dataset())]
    np.testing.assert_array_equal(streamed, pixels)


def test_rows_and_arrays_of_paths(paths: list[str]) -> None:
    for source in ([{"path": path} for path in paths], np.array(paths), np.array(paths, object)):
        assert [read_item(item) for item in open_images(source)] == [RED, BLUE]


@pytest.mark.parametrize("cell", [None, float("nan"), "", 5, {"bytes": None, "path": None}])
def test_a_row_without_an_image_fails_alone(cell: Any, paths: list[str]) -> None:
    items = list(open_images([{"image": paths[0]}, {"image": cell}]))
    assert read_item(items[0]) == RED
    with pytest.raises(ImageError, match=r"row 1: the cell of its image is (empty|a int); expected a path"):
        read_item(items[1])


def test_no_column_of_images() -> None:
    with pytest.raises(
        SourceError, match=r"a table of Arrow: no column that is known to hold images; .* a, b"
    ):
        list(open_images(arrow({"a": [1], "b": [2]})))


def test_an_address_needs_a_list_that_allows_it() -> None:
    (item,) = open_images([{"url": "https://host.example/a.png"}])
    with pytest.raises(ImageError, match="nothing may be fetched"):
        read_item(item)


@pytest.mark.parametrize("cell", [None, "", math.nan, np.float32("nan"), np.datetime64("NaT"), np.str_("")])
def test_a_cell_without_a_value_is_missing(cell: object) -> None:
    assert is_missing(cell)


@pytest.mark.parametrize(
    "cell", [0, False, "nan", np.float32(0), np.datetime64("2026-01-01"), np.zeros(2), [], b""]
)
def test_a_cell_with_a_value_is_not(cell: object) -> None:
    assert not is_missing(cell)
