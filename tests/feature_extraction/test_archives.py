"""Tar archives: plain and compressed, as WebDatasets name them, and damaged ones."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from feature_extraction import items
from feature_extraction.items import Tally
from feature_extraction.sources import images
from models.errors import ImageError, SourceError


def tar(path: Path, *names: str, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 600 if name.endswith(".png") else 3
            archive.addfile(info, io.BytesIO(name.encode().ljust(info.size)))
    return path


def found(spec: str | Path, tally: Tally | None = None) -> dict[str, bytes]:
    return {item.id: bytes(item.read()).strip() for item in images(str(spec), tally)}


@pytest.mark.parametrize(
    ("suffix", "mode"), [(".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar.xz", "w:xz")]
)
def test_members_come_in_the_order_of_the_archive(tmp_path: Path, suffix: str, mode: str) -> None:
    path = tar(tmp_path / f"data{suffix}", "b/2.png", "b/2.cls", "./a.png", "../../climbs.png", mode=mode)
    tally = Tally()
    assert found(path, tally) == {
        f"{path}/b/2.png": b"b/2.png",
        f"{path}/a.png": b"./a.png",
        f"{path}/../../climbs.png": b"../../climbs.png",
    }
    assert list(tmp_path.iterdir()) == [path]
    assert tally.ignored == 1


def test_name_in_a_tar_that_is_no_utf8_can_be_printed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", errors="surrogateescape") as archive:
        archive.addfile(tarfile.TarInfo("caf\udce9.png"))
    (name,) = found(tmp_path / "a.tar")
    assert name.endswith("caf\N{REPLACEMENT CHARACTER}.png")


def test_links_and_devices_in_a_tar_are_no_images(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        for name, kind in (("link.png", tarfile.SYMTYPE), ("device.png", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    with pytest.raises(SourceError, match="no images in it"):
        found(tmp_path / "links.tar")


def test_numbered_shards_are_named_together_and_a_missing_one_is_a_failure(tmp_path: Path) -> None:
    for i in (0, 2):
        tar(tmp_path / f"shard-{i:03}.tar", f"{i}.png", f"{i}.json")
    items = list(images(f"{tmp_path}/shard-{{000..002}}.tar"))
    assert [Path(item.id).name for item in items] == ["0.png", "shard-001.tar", "2.png"]
    with pytest.raises(ImageError, match=r"shard-001\.tar: no such file"):
        items[1].read()


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
@pytest.mark.parametrize("keep", [0.45, 0.8])
def test_archive_that_breaks_off_gives_what_is_there_and_one_failure(
    tmp_path: Path, suffix: str, keep: float
) -> None:
    names = [f"{i}.png" for i in range(40)]
    path = tar(tmp_path / f"half{suffix}", *names, mode="w" if suffix == ".tar" else "w:gz")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    good, failures = [], []
    for item in images(str(path)):
        try:
            good.append(bytes(item.read()).strip().decode())
        except ImageError as exc:
            failures.append(str(exc))
    assert good == names[: len(good)]
    assert 0 < len(good) < 40
    assert failures
    assert all("breaks off" in reason for reason in failures)


def test_file_that_is_no_tar_says_so_and_harms_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("text" * 500)
    tar(tmp_path / "b.tar", "1.png")
    with pytest.raises(SourceError, match="not a tar archive that can be read"):
        found(tmp_path / "a.tar")
    broken, good = images(f"{tmp_path}/*.tar")
    assert good.read()
    with pytest.raises(ImageError, match="not a tar archive that can be read"):
        broken.read()


@pytest.mark.parametrize(("suffix", "mode"), [(".tar", "w"), (".tgz", "w:gz")])
def test_member_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, mode: str
) -> None:
    path = tar(tmp_path / f"data{suffix}", "1.png", mode=mode)
    monkeypatch.setattr(items, "MAX_BYTES", 500)
    (item,) = images(str(path))
    with pytest.raises(ImageError, match="no image is that large"):
        item.read()


def test_a_member_of_a_zip_without_a_name_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("xx.png", "red.png"):
            archive.writestr(name, b"data")
    path.write_bytes(path.read_bytes().replace(b"xx.png", b"\0x.png"))  # a name ends at a zero
    assert [item.id for item in images(str(path))] == [f"{path}/red.png"]


def zipped(path: Path, method: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.png", data)
    return path


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_members_of_a_zip_are_unpacked_behind_whatever_was_put_before_it(tmp_path: Path, method: int) -> None:
    path = zipped(tmp_path / "a.zip", method, b=b"second" * 50, a=b"first")
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    assert list(found(path).values()) == [b"first", b"second" * 50]


def failure(path: Path) -> str:
    (item,) = images(str(path))
    with pytest.raises(ImageError, match=r"b\.zip/.*: cannot be unpacked") as caught:
        item.read()
    return str(caught.value)


def test_damaged_members_of_a_zip_are_failures_that_say_why(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "a.zip", zipfile.ZIP_STORED, a=b"0123456789").read_bytes()
    begin, directory = whole.index(b"0123"), whole.index(b"PK\1\2")

    def changed(at: int, data: bytes) -> Path:
        path = tmp_path / "b.zip"
        path.write_bytes(whole[:at] + data + whole[at + len(data) :])
        return path

    assert "Bad CRC-32" in failure(changed(begin, b"X"))
    assert "header is not that" in failure(changed(0, b"XX"))
    assert "header is not that" in failure(changed(begin - len("a.png"), b"b.png"))
    assert "has a password" in failure(changed(directory + 8, b"\1"))
    # Sizes in the directory, packed and not: more than there is room for before the directory.
    assert "lies over" in failure(changed(directory + 20, (20).to_bytes(4, "little") * 2))
    assert "not supported" in failure(changed(directory + 10, b"\x63"))
