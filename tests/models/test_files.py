"""Files appear whole or not at all, and leave nothing half written."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from models import files
from models.errors import OutputError
from models.files import write_atomically


def test_folders_are_made_and_the_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    path, plain = tmp_path / "new" / "model.onnx", tmp_path / "plain"
    plain.touch()
    write_atomically(path, iter([b"one ", b"two"]))
    assert path.read_bytes() == b"one two"
    assert path.stat().st_mode == plain.stat().st_mode


def test_full_disk_leaves_the_file_before_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    write_atomically(path, b"first")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(
        OutputError, match=r"model.onnx: the disk is full \([\d.,]+ MB free\)\. Free some space"
    ):
        write_atomically(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_breaks_off_while_it_is_made_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "x", broken())
    assert list(tmp_path.iterdir()) == []


def test_place_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        OutputError, match=r"file/model.onnx: cannot be written \(.*choose another folder of yours"
    ):
        write_atomically(tmp_path / "file" / "model.onnx", b"")
