"""Where images come from: order, links in circles, archives, standard input, and what is refused."""

from __future__ import annotations

import io
import os
import shutil
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from feature_extraction import items
from feature_extraction.items import Tally
from feature_extraction.sources import image_count, images
from models.errors import ImageError, SourceError
from tests.fixtures import plain


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as stream:
        for name in names:
            stream.writestr(name, name)
    return path


def ids(spec: str | Path, tally: Tally | None = None) -> list[str]:
    return [item.id for item in images(str(spec), tally)]


def test_folder_is_walked_in_the_order_of_names_and_counts_what_it_leaves_out(tmp_path: Path) -> None:
    tree(tmp_path, "b/2.png", "b/1.JPG", "a.webp", "c/d/e/x.gif", "notes.txt", ".hidden.png", ".git/y.png")
    tally = Tally()
    assert ids(tmp_path, tally) == [
        f"{tmp_path}/{name}" for name in ("a.webp", "b/1.JPG", "b/2.png", "c/d/e/x.gif")
    ]
    assert tally.ignored == 2  # the note and the hidden file; hidden folders are not entered


JUNK = (
    "@eaDir/1.png/SYNOPHOTO_THUMB_XL.jpg", "__MACOSX/1.png", ".ipynb_checkpoints/1-checkpoint.png", "Thumbs.db",
    ".DS_Store", "desktop.ini", "#recycle/old.jpg", "$RECYCLE.BIN/1.png", "System Volume Information/x.png", "._1.png",
)  # fmt: skip


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "glob"])
def test_what_systems_leave_is_no_image_and_not_worth_a_word(tmp_path: Path, kind: str, junk: str) -> None:
    root = tree(tmp_path / "photos", "cat/1.png", f"cat/{junk}", junk)
    plain_specs = {"folder": str(root), "glob": f"{root}/**/*"}
    tally = Tally()
    assert [Path(name).name for name in ids(plain_specs.get(kind) or _packed(root, kind), tally)] == ["1.png"]
    assert tally.words() == ""


def _packed(root: Path, kind: str) -> str:
    return shutil.make_archive(str(root), kind, root)


def test_image_that_nothing_reads_is_an_image(tmp_path: Path) -> None:
    tree(tmp_path, "1.HEIC", "2.jxl", "3.nef", "4.jpg", "5.mov")
    tally = Tally()
    assert [Path(name).name for name in ids(tmp_path, tally)] == ["1.HEIC", "2.jxl", "3.nef", "4.jpg"]
    assert tally.words() == "1 other file (1 .mov)"


def test_links_in_circles_end(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b" / "over").symlink_to(tmp_path / "a")
    assert [Path(name).name for name in ids(tmp_path)] == ["1.png", "2.png"]


def test_link_to_nothing_is_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (item,) = images(str(tmp_path))
    with pytest.raises(ImageError, match="no such file, or a link to nothing"):
        item.read()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_links_to_themselves_are_failures_of_their_own(tmp_path: Path) -> None:
    tree(tmp_path, "1.png", "z.png")
    for name in ("self.png", "self"):
        (tmp_path / name).symlink_to(name)
    first, *loops, last = images(str(tmp_path))
    assert (first.read(), last.read()) == (b"1.png", b"z.png")
    for item in loops:
        with pytest.raises(ImageError, match=r"self(\.png)?: cannot be (read|listed) \(Too many levels"):
            item.read()
    assert len(loops) == 2


def test_path_that_cannot_be_looked_up_says_why() -> None:
    with pytest.raises(SourceError, match=r"cannot be reached \(File name too long\)"):
        ids("a" * 5000)


def test_counting_costs_names_only_and_uses_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, "a/1.png", "a/2.png", "a/x.txt", "none/x.txt")
    archive(tmp_path / "z.zip", "1.png")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"image")))
    assert image_count("-") is None
    assert sys.stdin.buffer.read() == b"image"
    (tmp_path / "t.tar.gz").write_bytes(b"")
    names = ("a", "z.zip", "a/1.png", "t.tar.gz", "none", "missing", "*")
    counts = [image_count(str(tmp_path / name)) for name in names]
    assert counts == [2, 1, 1, None, None, None, None]


def test_named_file_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    tree(tmp_path, "photo.upload")
    (item,) = images(str(tmp_path / "photo.upload"))
    assert item.read() == b"photo.upload"


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    tree(tmp_path, "1.png")
    (item,) = images(str(tmp_path))
    (tmp_path / "1.png").write_bytes(b"later")
    assert item.read() == b"later"


def test_glob_is_expanded_here_and_takes_images_only(tmp_path: Path) -> None:
    tree(tmp_path, "2.png", "1.png", "1.txt", "deep/3.png")
    tally = Tally()
    assert ids(f"{tmp_path}/*.*", tally) == [f"{tmp_path}/1.png", f"{tmp_path}/2.png"]
    assert tally.ignored == 1
    assert ids(f"{tmp_path}/**/*.png") == [f"{tmp_path}/{name}" for name in ("1.png", "2.png", "deep/3.png")]


def test_name_with_brackets_is_a_file_before_it_is_a_glob(tmp_path: Path) -> None:
    tree(tmp_path, "photo[1].png", "photo1.png")
    assert ids(tmp_path / "photo[1].png") == [f"{tmp_path}/photo[1].png"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("empty", r"no images in it \(1 other file \(1 \.md\)\)"),
        ("missing.png", "no such file or folder"),
        ("*.png", "no image matches"),
        ("broken.zip", "not a zip archive that can be read"),
        ("texts.zip", r"no images in it \(1 other file \(1 \.txt\)\)"),
    ],
)
def test_source_without_images_says_so(tmp_path: Path, spec: str, reason: str) -> None:
    tree(tmp_path, "empty/readme.md", "broken.zip")
    archive(tmp_path / "texts.zip", "a.txt")
    with pytest.raises(SourceError, match=reason):
        ids(tmp_path / spec)


def test_empty_path_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree(tmp_path, "a.png"))
    with pytest.raises(SourceError, match="a path is empty"):
        ids("")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no names that are not Unicode")
def test_names_that_are_no_utf8_can_be_printed(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / name).write_bytes(b"x")
    (item,) = images(str(tmp_path))
    assert item.id.endswith("caf\N{REPLACEMENT CHARACTER}.png")
    assert item.read() == b"x"


def test_endless_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "MAX_BYTES", 1 << 20)
    (item,) = images(os.devnull.replace("null", "zero"))
    with pytest.raises(ImageError, match="larger than 1 MiB"):
        item.read()


class TestArchive:
    def test_names_that_climb_are_only_names(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        path = archive(tmp_path / "in" / "evil.zip", "../../up.png", "/etc/abs.png", "fine.png")
        before = sorted(tmp_path.rglob("*"))
        found = {item.id: item.read() for item in images(str(path))}
        assert found == {
            f"{path}/../../up.png": b"../../up.png",
            f"{path}/etc/abs.png": b"/etc/abs.png",
            f"{path}/fine.png": b"fine.png",
        }
        assert sorted(tmp_path.rglob("*")) == before

    def test_what_a_mac_adds_is_left_out(self, tmp_path: Path) -> None:
        path = archive(tmp_path / "mac.zip", "__MACOSX/._1.png", "1.png", "._2.png")
        assert ids(path) == [f"{path}/1.png"]

    def test_hidden_folders_are_left_out_and_counted_as_in_a_folder(self, tmp_path: Path) -> None:
        path = archive(tmp_path / "a.zip", ".hidden/1.png", ".hidden/2.png", "shown/3.png")
        tally = Tally()
        assert ids(path, tally) == [f"{path}/shown/3.png"]
        assert tally.words() == "1 other file (1 folder .hidden)"

    def test_absurd_declared_size_is_refused_before_unpacking(self, tmp_path: Path) -> None:
        path = archive(tmp_path / "big.zip", "1.png")
        data = bytearray(path.read_bytes())
        entry = data.index(b"PK\x01\x02")
        # The size in the central directory.
        data[entry + 24 : entry + 28] = (0x7FFFFFFF).to_bytes(4, "little")
        path.write_bytes(bytes(data))
        (item,) = images(str(path))
        with pytest.raises(ImageError, match="larger than 512 MiB"):
            item.read()

    @pytest.mark.parametrize("change", [(6, b"\x63\0"), (46, b"\xff\xfe")], ids=["version", "name"])
    def test_directory_that_cannot_be_understood_is_explained(
        self, tmp_path: Path, change: tuple[int, bytes]
    ) -> None:
        path = archive(tmp_path / "a.zip", "é.png")
        data = bytearray(path.read_bytes())
        position = data.index(b"PK\x01\x02") + change[0]
        data[position : position + 2] = change[1]
        path.write_bytes(data)
        with pytest.raises(SourceError, match=r"a\.zip: not a zip archive that can be read"):
            list(images(str(path)))

    def test_damaged_member_harms_only_itself(self, tmp_path: Path) -> None:
        path = archive(tmp_path / "half.zip", "1.png", "2.png")
        data = path.read_bytes().replace(b"1.png1.png", b"1.png?.png")
        path.write_bytes(data)
        one, two = images(str(path))
        with pytest.raises(ImageError, match="cannot be unpacked"):
            one.read()
        assert two.read() == b"2.png"

    def test_members_are_read_from_several_threads(self, tmp_path: Path) -> None:
        names = [f"{i:03}.png" for i in range(64)]
        found: dict[str, bytes] = {}
        items = list(images(str(archive(tmp_path / "many.zip", *names))))
        threads = [
            threading.Thread(
                target=lambda part: found.update((i.id, i.read()) for i in part), args=(items[n::4],)
            )
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found.values()) == [name.encode() for name in names]


class TestStandardInput:
    def test_is_one_image(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(plain("red"))))
        (item,) = images("-")
        # read by whoever lists it, who can be interrupted, not later by a decode thread, who cannot
        assert sys.stdin.buffer.read() == b""
        assert (item.id, item.read()) == ("-", plain("red"))

    def test_of_a_terminal_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal = io.StringIO()
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        monkeypatch.setattr(sys, "stdin", terminal)
        with pytest.raises(SourceError, match="standard input is closed or a terminal"):
            ids("-")


def test_folder_that_cannot_be_listed_is_a_failure_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, "a/1.png", "b/2.png", "c/3.png")
    real = os.scandir

    def scandir(folder: str) -> object:
        if folder.endswith("b"):
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    first, closed, last = images(str(tmp_path))
    assert (first.read(), last.read()) == (b"a/1.png", b"c/3.png")
    with pytest.raises(ImageError, match=r"b: cannot be listed \(Permission denied\)"):
        closed.read()
