"""Numbered files that are named together, and those of them that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from feature_extraction.sources import images
from models.errors import ImageError, SourceError


def files(folder: Path, *numbers: int) -> str:
    for number in numbers:
        (folder / f"{number:03}.png").write_bytes(b"%d" % number)
    return f"{folder}/{{000..020}}.png"


def test_each_gap_is_one_failure(tmp_path: Path) -> None:
    items = list(images(files(tmp_path, 1, 2, 9)))
    assert [Path(item.id).name for item in items] == [
        "000.png",
        "001.png",
        "002.png",
        "008.png",
        "009.png",
        "020.png",
    ]
    assert [item.read() for item in (items[1], items[2], items[4])] == [b"1", b"2", b"9"]
    with pytest.raises(ImageError, match=r"000\.png: no such file"):
        items[0].read()
    with pytest.raises(ImageError, match=r"003\.png to .*008\.png: 6 files are not there"):
        items[3].read()
    with pytest.raises(ImageError, match=r"010\.png to .*020\.png: 11 files are not there"):
        items[5].read()


def test_two_ranges_stand_for_all_pairs(tmp_path: Path) -> None:
    for name in ("a1.png", "b0.png"):
        (tmp_path / name.replace("a", "0").replace("b", "1")).write_bytes(b"")
    names = [Path(item.id).name for item in images(f"{tmp_path}/{{0..1}}{{0..1}}.png")]
    assert names == ["00.png", "01.png", "10.png", "11.png"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("{000..127}.tar", "none of these files is there"),
        ("{0..99999999}.tar", "stands for 100,000,000 files; expected 1,000,000 at most"),
        ("{0..9999}/{0..9999}.tar", "stands for 100,000,000 files"),
        ("{9..0}.tar", "a range counts down"),
    ],
)
def test_range_that_gives_nothing_says_why(tmp_path: Path, spec: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        next(images(f"{tmp_path}/{spec}"))
