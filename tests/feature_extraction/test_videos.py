"""Frames of videos, which PyAV writes for these tests."""

from __future__ import annotations

import builtins
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_extraction.items import Tally, read_item
from feature_extraction.sources import images
from feature_extraction.videos import video_named
from models.errors import ImageError, LibraryError, SourceError
from tests import optional

SIZE = (48, 64)  # height, width
COUNT = 30


def film(
    path: Path,
    kind: str = "mpeg4",
    count: int = COUNT,
    form: str | None = None,
    begin: int = 0,
    rate: Fraction = Fraction(25),
    bit_rate: int | None = None,
    **options: str,
) -> Path:
    """A video whose upper half is red; its lower half is bluer from frame to frame.

    `begin`: how many frames would have been before the first one; `rate`: frames in a second.
    """
    av: Any = optional.library("av", extra="video")
    with av.open(str(path), "w", format=form, options=options) as container:
        stream = container.add_stream(kind, rate=rate)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        if bit_rate:
            stream.bit_rate = bit_rate
            stream.codec_context.options = {"maxrate": str(bit_rate), "bufsize": "2000000"}
        for i in range(count):
            pixels = np.zeros((*SIZE, 3), np.uint8)
            pixels[:24], pixels[24:, :, 2] = (255, 0, 0), i * 8 % 256
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = begin + i, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def pixels(item: Any) -> Any:
    return np.asarray(read_item(item)).astype(int)


def test_every_frame_or_every_nth(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mp4")
    every = list(images(str(path)))
    assert [item.id for item in every] == [f"{path}[{i}]" for i in range(COUNT)]
    tenth = list(images(f"{path}[::10]"))
    assert [item.id for item in tenth] == [f"{path}[{i}]" for i in (0, 10, 20)]
    for item, i in zip(tenth, (0, 10, 20), strict=True):
        assert abs(pixels(item)[5, 5] - (255, 0, 0)).max() < 16
        assert abs(pixels(item)[40, 5] - (0, 0, 8 * i)).max() < 16
        np.testing.assert_array_equal(pixels(item), pixels(every[i]))


def test_a_phone_that_was_held_upright(tmp_path: Path) -> None:
    """The matrix of the track's header (ISO/IEC 14496-12, 8.3.2) turns what is shown by 90 degrees clockwise."""
    path = film(tmp_path / "film.mp4")
    data = path.read_bytes()
    begin = data.index(b"tkhd") + 4 + 40
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, SIZE[0] << 16, 0, 1 << 30)
    path.write_bytes(data[:begin] + matrix + data[begin + len(matrix) :])
    first = pixels(next(iter(images(str(path)))))
    assert first.shape == (SIZE[1], SIZE[0], 3)
    assert abs(first[5, -5] - (255, 0, 0)).max() < 16  # what was above is on the right
    assert abs(first[5, 5] - (0, 0, 0)).max() < 16


def test_a_video_that_breaks_off_gives_what_came_before(tmp_path: Path) -> None:
    path = film(tmp_path / "film.avi")
    data = bytearray(path.read_bytes())
    frames = [i for i in range(len(data)) if data[i : i + 4] == b"00dc"]
    del data[frames[COUNT // 2] :]
    path.write_bytes(data)
    items = list(images(str(path)))
    assert 0 < len(items) <= COUNT // 2 + 1
    assert pixels(items[0]).shape == (*SIZE, 3)


@pytest.mark.parametrize("name", ["film.mp4", "film.mov", "film.mkv"])
def test_a_video_that_ends_before_it_says_is_told(tmp_path: Path, name: str) -> None:
    """Whose list of frames stands before them, so that what is left reads well."""
    options = {} if name.endswith("mkv") else {"movflags": "faststart"}
    path = film(tmp_path / name, count=100, **options)
    assert len(list(images(str(path)))) == 100
    data = path.read_bytes()
    path.write_bytes(
        data[: len(data) - (len(data) - data.rindex(b"mdat" if options else b"\x1fC\xb6u")) // 2]
    )
    *whole, last = images(str(path))
    assert 10 < len(whole) < 75
    assert last.id == f"{path}[{len(whole)}]"
    with pytest.raises(ImageError, match=rf"breaks off after {len(whole)} frames \(at .* s of 4.0 s\)"):
        read_item(last)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("late.mkv", {"begin": 250}),
        ("late.mp4", {"begin": 250}),
        ("slow.wmv", {"kind": "wmv2", "rate": Fraction(1, 5)}),
        ("bare.mpg", {"kind": "mpeg1video", "form": "mpeg1video", "bit_rate": 8000}),
    ],
)
def test_a_whole_video_does_not_break_off(tmp_path: Path, name: str, how: dict[str, Any]) -> None:
    """Also where its times begin late, are far apart, or where there are none, and its length is a guess."""
    for item in images(str(film(tmp_path / name, **how))):
        assert pixels(item).shape == (*SIZE, 3)


@pytest.mark.parametrize(
    ("content", "every", "reason"),
    [
        (b"no video at all" * 100, "", "no video that can be read"),
        (b"", "", "no video that can be read"),
        (None, "[::0]", "every 0th frame is none; expected 1 or more"),
    ],
)
def test_what_is_none(tmp_path: Path, content: bytes | None, every: str, reason: str) -> None:
    optional.library("av", extra="video")
    path = tmp_path / "film.mp4"
    if content is None:
        film(path)
    else:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=reason):
        list(images(f"{path}{every}"))


def test_without_the_library_its_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "film.MOV").write_bytes(b"x")
    imported = builtins.__import__

    def lacking(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "av":
            raise ModuleNotFoundError(name)
        return imported(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(
        LibraryError, match=r"film.MOV: a video; its frames need PyAV. Run: pip install '.\[video\]'"
    ):
        list(images(str(tmp_path / "film.MOV")))


def test_videos_in_folders_are_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    tally = Tally()
    with pytest.raises(SourceError, match=r"no images in it \(1 other file \(1 .mp4\)\)"):
        list(images(str(tmp_path), tally))


def test_names(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "a.mp4[::5]").write_bytes(b"x")
    assert video_named(f"{tmp_path}/a.mp4[::7]") == (f"{tmp_path}/a.mp4", 7)
    assert video_named(f"{tmp_path}/a.mp4[::5]") is None  # a file that is really called so
    assert video_named(f"{tmp_path}/b.mp4") is None
