"""Images in columns of Parquet files, as data sets are published."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from feature_extraction import items, parquet_images
from feature_extraction.sources import image_count, images, images_from
from models.errors import ImageError, SourceError
from tests import optional
from tests.fixtures import plain

pyarrow = optional.library("pyarrow", "parquet")
parquet = optional.library("pyarrow.parquet", "parquet")
RED, GREEN = plain("red"), plain("green")


def written(path: Path, columns: dict[str, Any], groups: int = 2) -> Path:
    parquet.write_table(pyarrow.table(columns), path, row_group_size=groups)
    return path


def structures(*rows: tuple[bytes | None, str | None]) -> list[dict[str, Any]]:
    return [{"bytes": data, "path": path} for data, path in rows]


def contents(spec: str | Path) -> dict[str, bytes | str]:
    result: dict[str, bytes | str] = {}
    for item in images(str(spec)):
        try:
            result[item.id] = bytes(item.read())
        except ImageError as exc:
            result[item.id] = str(exc)
    return result


def test_rows_of_bytes_are_called_by_their_numbers(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", {"label": [1, 2, 3], "jpg": [RED, GREEN, RED]})
    assert contents(path) == {f"{path}/0": RED, f"{path}/1": GREEN, f"{path}/2": RED}
    assert image_count(str(path)) == 3


def test_rows_of_structures_are_called_by_their_paths_too(tmp_path: Path) -> None:
    rows = structures((RED, "r.png"), (None, "elsewhere.png"), (None, None), (GREEN, None))
    path = written(tmp_path / "a.parquet", {"image": rows, "thumbnail": [b"1", b"2", b"3", b"4"]})
    assert contents(path) == {
        f"{path}/0/r.png": RED,
        f"{path}/1/elsewhere.png": f"{path}/1/elsewhere.png: its row only names a file, 'elsewhere.png'; expected "
        "the bytes of an image.",
        f"{path}/2": f"{path}/2: its row is empty; expected the bytes of an image.",
        f"{path}/3": GREEN,
    }


def test_several_files_are_named_together(tmp_path: Path) -> None:
    for number in (0, 2):
        written(tmp_path / f"train-{number:05}-of-00003.parquet", {"image": [RED]})
    (tmp_path / "train-00001-of-00003.parquet").write_bytes(b"PAR1, but no more of it")
    by_range = contents(tmp_path / "train-{00000..00002}-of-00003.parquet")
    assert by_range == contents(tmp_path / "*.parquet")
    assert list(by_range.values())[::2] == [RED, RED]
    assert "not a Parquet file that can be read" in str(list(by_range.values())[1])


def test_images_from_a_row_on_are_read_without_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.parquet", {"image": [bytes([i]) for i in range(10)]}, groups=3)
    groups: list[int] = []
    opened = parquet_images._opened

    def counting(file: Path) -> Any:
        one = opened(file)
        iterate = one.iter_batches

        def counted(*args: Any, row_groups: list[int], **options: Any) -> Any:
            groups.extend(row_groups)
            return iterate(*args, row_groups=row_groups, **options)

        one.iter_batches = counted
        return one

    monkeypatch.setattr(parquet_images, "_opened", counting)
    rest = images_from(str(path), f"{path}/7")
    assert rest is not None
    assert [item.read() for item in rest] == [bytes([7]), bytes([8]), bytes([9])]
    assert groups == [2, 3]
    assert images_from(str(path), "another.parquet/7") is None


def test_items_take_their_bytes_to_another_process(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", {"image": structures((RED, "r.png"), (None, None))})
    first, second = pickle.loads(pickle.dumps(list(images(str(path)))))
    path.unlink()
    assert first.read() == RED
    with pytest.raises(ImageError, match="its row is empty"):
        second.read()


def test_an_image_that_is_too_large_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "MAX_BYTES", 1000)
    path = written(tmp_path / "a.parquet", {"image": [bytes(1001), RED]})
    first, second = contents(path).values()
    assert "no image is that large" in str(first)
    assert second == RED


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"url": ["https://host/1.jpg"], "label": [1]}, "no column holds images: its columns are url, label"),
        (
            {"left": [RED], "right": [RED]},
            r"2 columns hold bytes \(left, right\); expected one, or one called image",
        ),
    ],
)
def test_a_file_without_one_column_of_images_is_refused(
    tmp_path: Path, columns: dict[str, Any], reason: str
) -> None:
    path = written(tmp_path / "a.parquet", columns)
    with pytest.raises(SourceError, match=reason):
        contents(path)


def test_a_file_that_is_damaged_gives_what_is_before_the_damage(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", {"image": [RED * 50, GREEN * 50, b"third" * 99, b"fourth" * 99]})
    metadata = parquet.ParquetFile(path).metadata
    begin = metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[begin : begin + 40] = bytes(40)
    path.write_bytes(data)
    first, second, third = contents(path).values()
    assert (first, second) == (RED * 50, GREEN * 50)
    assert f"{path}/2: the file breaks off or is damaged here" in str(third)
