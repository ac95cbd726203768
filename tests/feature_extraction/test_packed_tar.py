"""Tar archives that are read in any order: a packed one is unpacked once, and leaves nothing behind."""

from __future__ import annotations

import gc
import pickle
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from feature_extraction.items import Tally
from feature_extraction.packed_tar import unpacked_tar_members
from models.errors import SourceError
from tests.finetune.dataset.samples import tarred
from tests.fixtures import plain

FILES = {"b/2.png": plain("blue"), "a/1.png": plain("red"), "notes.txt": b"x"}


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz"])
def test_members_come_by_name_and_as_often_as_wanted(tmp_path: Path, temporary: Path, name: str) -> None:
    path, tally, folders = tarred(tmp_path / name, FILES), Tally(), list[tuple[str, ...]]()
    members = list(unpacked_tar_members(path, tally, folders))
    again = list(unpacked_tar_members(path, Tally(), []))
    assert [item.id for _, item in members] == [f"{path}/a/1.png", f"{path}/b/2.png"]
    for _ in range(2):
        assert [item.read() for _, item in reversed(members)] == [FILES["b/2.png"], FILES["a/1.png"]]
    assert tally.words() == "1 other file (1 .txt)"
    assert len(list(temporary.iterdir())) == (name != "a.tar")
    del members
    assert again[0][1].read() == FILES["a/1.png"]
    del again
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_an_archive_that_grew_is_unpacked_again(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tgz", FILES)
    before = list(unpacked_tar_members(path, Tally()))
    tarred(path, FILES | {"c/3.png": plain("green")})
    assert len(list(unpacked_tar_members(path, Tally()))) == 3
    assert before[0][1].read() == FILES["a/1.png"]


@pytest.mark.parametrize("name", ["a.tgz", "a.tar.bz2", "a.tar.xz"])
@pytest.mark.parametrize("cut", [0, 5, 60])
def test_what_is_no_archive_is_explained(tmp_path: Path, temporary: Path, name: str, cut: int) -> None:
    path = tarred(tmp_path / name, FILES)
    path.write_bytes(path.read_bytes()[:cut] or b"no archive")
    with pytest.raises(SourceError, match=r"cannot be unpacked into .* give the folder"):
        unpacked_tar_members(path, Tally())
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_a_disk_without_room_is_explained(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tarred(tmp_path / "a.tgz", FILES)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 30))
    with pytest.raises(
        SourceError, match=r"unpacked it has more than 0.0 MB, .* Set TMPDIR to a larger disk"
    ):
        unpacked_tar_members(path, Tally())
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_another_process_unpacks_the_archive_for_itself(tmp_path: Path, temporary: Path) -> None:
    members = list(unpacked_tar_members(tarred(tmp_path / "a.tgz", FILES), Tally()))
    sent = pickle.dumps([item for _, item in members])
    del members
    gc.collect()
    assert list(temporary.iterdir()) == []  # the process that sent it has ended
    assert [item.read() for item in pickle.loads(sent)] == [FILES["a/1.png"], FILES["b/2.png"]]
    gc.collect()
    assert list(temporary.iterdir()) == []
