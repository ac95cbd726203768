"""Lists of images: text, tables and JSON lines."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from feature_extraction import lists
from feature_extraction.sources import images
from models.errors import ImageError, SourceError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "a.png", "deep/c.png"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "b.png\n\n  deep/c.png \n"),
        ("list.csv", "label,path\n1,b.png\n2,\n3,deep/c.png\n"),
        ("list.csv", "\ufefffile\nb.png\ndeep/c.png\n"),
        ("list.tsv", "path\tlabel\nb.png\tx\ndeep/c.png\ty\n"),
        ("list.jsonl", '{"image": "b.png"}\n\n"deep/c.png"\n'),
    ],
)
def test_paths_begin_at_the_folder_of_the_list(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    assert [item.read() for item in images(str(folder / name))] == [b"b.png", b"deep/c.png"]


@pytest.mark.parametrize(
    ("name", "text"), [("l.csv", "id,path\nfirst,b.png\n"), ("l.jsonl", '{"id": "first", "path": "b.png"}')]
)
def test_id_column_names_the_image(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")
    (item,) = images(str(folder / name))
    assert item.id == "first"


def test_missing_image_is_a_failure_of_its_own(folder: Path) -> None:
    (folder / "list.txt").write_text("gone.png\na.png\n", encoding="utf-8")
    gone, there = images(str(folder / "list.txt"))
    assert there.read() == b"a.png"
    with pytest.raises(ImageError, match="no such file"):
        gone.read()


def test_id_that_is_given_twice_is_a_failure_of_its_own(folder: Path) -> None:
    (folder / "l.csv").write_text("id,path\nx,b.png\nx,a.png\ny,a.png\n", encoding="utf-8")
    first, twice, last = images(str(folder / "l.csv"))
    assert (first.read(), last.read()) == (b"b.png", b"a.png")
    with pytest.raises(ImageError, match="line 3: x is the id of an image before"):
        twice.read()


@pytest.mark.parametrize(
    ("name", "broken", "reason"),
    [
        ("l.jsonl", b"[1]", r"\[1\]; expected an object or a string"),
        ("l.jsonl", b'{"place": "x"}', "its fields are place"),
        ("l.jsonl", b'{"path": null}', "its path is None; expected text"),
        ("l.jsonl", b'{"path": "b.p', "not JSON"),
        ("l.jsonl", b'"\xff"', "not UTF-8"),
        ("l.csv", b"x" * 200_000, "field larger than field limit"),
        ("l.csv", b'"b.png', "no row of a table"),  # the quote takes all that follows with it
        ("l.csv", b'1,"cut', "no row of a table"),
        ("l.csv", b'"b.png"x,1', "',' expected after '\"'"),
        ("l.csv", b"\xff.png,1", "not UTF-8"),
        ("l.txt", b"\xff.png", "not UTF-8"),
    ],
)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_broken_line_is_a_failure_of_its_own(
    folder: Path, name: str, broken: bytes, reason: str, at: int
) -> None:
    good = [b'"b.png"', b'"a.png"'] if name != "l.txt" else [b"b.png", b"a.png"]
    header = [b"path,note"] if name == "l.csv" else []
    (folder / name).write_bytes(b"\n".join([*header, *good[:at], broken, *good[at:]]))
    items = list(images(str(folder / name)))
    failing = items.pop(at)
    assert [item.read() for item in items] == [b"b.png", b"a.png"]
    where = f"{folder / name}, line {at + 1 + len(header)}"
    assert failing.id == where
    with pytest.raises(ImageError, match=f"^{where}: .*{reason}"):
        failing.read()


def test_quoted_cell_may_hold_several_lines(folder: Path) -> None:
    (folder / "l.csv").write_text('note,path\n"two\n""lines""",b.png\n"x\n', encoding="utf-8")
    good, failing = images(str(folder / "l.csv"))
    assert good.read() == b"b.png"
    with pytest.raises(ImageError, match="line 4: no row of a table"):
        failing.read()


def test_file_that_is_no_list_is_given_up(folder: Path) -> None:
    (folder / "l.jsonl").write_text("{\n" * 1000 + '"b.png"\n', encoding="utf-8")
    with pytest.raises(SourceError, match="line 1: not JSON"):
        list(images(str(folder / "l.jsonl")))


def test_list_on_a_disk_that_fails_gives_what_came_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path, stream: Iterable[str]) -> Iterator[tuple[int, str]]:
        yield 1, "b.png"
        raise OSError(errno.EIO, "Input/output error")

    (folder / "l.txt").write_text("b.png\na.png\n")
    monkeypatch.setattr(lists, "_text", failing)
    good, broken = images(str(folder / "l.txt"))
    assert good.read() == b"b.png"
    with pytest.raises(ImageError, match=r"Input/output error.*What follows in the list is left out"):
        broken.read()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("l.txt", b"a\0b.png"),
        ("l.csv", b"path\na\0b.png"),
        ("l.jsonl", b'"a\\u0000b.png"'),
        ("l.jsonl", b'"\\ud800.png"'),
    ],
)
def test_name_that_no_file_can_have_is_a_failure_of_its_own(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    (item,) = images(str(tmp_path / name))
    item.id.encode("utf-8")
    with pytest.raises(ImageError, match=r"no file can be called so|no such file"):
        item.read()


def test_id_that_no_stream_can_write_is_made_printable(folder: Path) -> None:
    (folder / "l.jsonl").write_bytes(b'{"path": "a.png", "id": "\\ud800"}')
    (item,) = images(str(folder / "l.jsonl"))
    assert item.id == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("l.csv", b"label,place\n1,x\n", "its columns are label, place; expected one of path, file"),
        ("l.csv", b"", "its columns are none"),
        ("l.jsonl", b'{"place": 1}', "line 1: its fields are place; expected one of"),
        ("l.jsonl", b"[1]", r"line 1: \[1\]; expected an object or a string"),
        ("l.jsonl", b"{", "line 1: not JSON"),
        ("l.jsonl", b"[" * 100_000, "line 1: not JSON"),
        ("l.txt", "a.png\n".encode("utf-16"), "a list in UTF-16; expected UTF-8"),
        ("l.txt", b"\xff\n\xff\n", "line 1: not UTF-8"),
        ("l.csv", b"path\xff\na.png", "line 1: not UTF-8"),
        ("l.txt", b"\n", "no images in it"),
    ],
)
def test_other_lists_are_explained(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=reason):
        list(images(str(tmp_path / name)))
