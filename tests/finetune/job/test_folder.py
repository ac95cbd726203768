"""The folder of a run: what an ended process leaves in it is no obstacle to going on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from finetune.job import folder
from finetune.job.folder import RunFolder
from models.errors import OutputError


def test_begun_on_a_full_disk_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OutputError(f"{path}: the disk is full")

    with monkeypatch.context() as patched, RunFolder.open(tmp_path) as begun:
        patched.setattr(folder, "write_atomically", full)
        with pytest.raises(OutputError, match="disk is full"):
            begun.begin({"seed": 0})
    with RunFolder.open(tmp_path, resume=True) as again:
        again.begin({"seed": 0})
    assert (tmp_path / "work").is_dir()


def test_half_written_files_of_a_killed_process_go(tmp_path: Path) -> None:
    (tmp_path / ".run.json.abc_123x").write_text("{")
    (tmp_path / ".model.onnx.abc_123x").write_bytes(b"half")
    with RunFolder.open(tmp_path) as begun:
        begun.begin({"seed": 0})
    assert set(os.listdir(tmp_path)) - {".lock"} == {"run.json", "work"}


def test_somebodys_hidden_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".model.onnx.swp").write_bytes(b"an editor's")
    with pytest.raises(OutputError, match="holds other files"), RunFolder.open(tmp_path):
        pass
    assert (tmp_path / ".model.onnx.swp").is_file()


def test_a_run_killed_before_it_had_anything_is_not_called_finished(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path) as begun:
        begun.begin({"seed": 0})
    (tmp_path / "work").rmdir()
    with pytest.raises(OutputError, match="has not finished"), RunFolder.open(tmp_path):
        pass
