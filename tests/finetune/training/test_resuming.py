"""Runs that were killed, and what must not be resumed."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from finetune.autodiff import Session
from finetune.autodiff.schedules import constant
from finetune.training import state
from finetune.training.data import TrainingData
from finetune.training.head import train_head
from finetune.training.network import build
from finetune.training.result import Trained
from finetune.training.settings import Settings
from finetune.training.state import NAME
from models.errors import OutputError
from tests.finetune.training.problems import clusters

SETTINGS = Settings(epochs=3, batch_size=32, learning_rate=0.01)


def trained(
    work: Path, data: TrainingData | None = None, settings: Settings = SETTINGS, **how: Any
) -> Trained:
    return train_head(data or clusters(), settings, work, device="cpu", threads=1, **how)


@pytest.mark.smoke
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("method", ["head", "blocks"])
def test_a_run_that_was_killed_many_times_ends_with_the_same_bytes(method: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.finetune.training.killing", method, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    whole, resumed = done.stdout.split()
    assert whole == resumed
    assert not list((tmp_path / "killed").glob(f".{NAME}.*"))  # halves are cleared away


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = trained(tmp_path)
    heard: list[Any] = []
    again = trained(tmp_path, resume=True, observer=heard.append)
    assert not heard
    assert again.top == first.top
    assert again.history == first.history


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"settings": dataclasses.replace(SETTINGS, epochs=9)},
            r"cannot be resumed: settings\.epochs was 3, is 9\. Go",
        ),
        ({"data": clusters(seed=1)}, r"the images or their labels are others\. Go on with the same settings"),
    ],
)
def test_other_settings_or_data_are_not_resumed(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    trained(tmp_path)
    with pytest.raises(OutputError, match=message):
        trained(tmp_path, resume=True, **change)
    trained(tmp_path, **change)  # but anew


def test_one_feature_of_one_view_makes_other_data() -> None:
    data = clusters()
    x = data.x.copy()
    x[-1, 1, -1] = np.nextafter(x[-1, 1, -1], np.float32(0))
    assert dataclasses.replace(data, x=x).digest() != data.digest()


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"not a checkpoint"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(OutputError, match=r"no checkpoint of a training .*Start anew without resuming"):
        trained(tmp_path, resume=True)
    assert trained(tmp_path).history[0].epochs


def test_a_changed_byte_in_a_weight_is_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    path = tmp_path / NAME
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[-3] ^= 1  # of the last weight; the header stands in front
    path.write_bytes(changed)
    with pytest.raises(OutputError, match=r"no checkpoint of a training .*damaged: its checksum is another"):
        trained(tmp_path, resume=True)
    path.write_bytes(whole)
    trained(tmp_path, resume=True)


def test_a_checkpoint_without_a_checksum_is_taken_up(tmp_path: Path) -> None:
    """As versions before wrote it."""
    first = trained(tmp_path)
    with safe_open(str(tmp_path / NAME), "np") as file:
        metadata = {name: text for name, text in file.metadata().items() if name != "graft.crc32"}
        values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it has no __iter__)
    save_file(values, str(tmp_path / NAME), metadata)
    assert len(metadata) == 1
    assert trained(tmp_path, resume=True).top == first.top


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file: cannot be written .*Choose a folder of yours"):
        trained(tmp_path / "file")


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[], None]]:
    """A file system of 64 KiB in `folder`, where we may mount one; gives what fills it, or else what pretends so."""
    mounted = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    )
    with pytest.MonkeyPatch.context() as patch:

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def fill() -> None:
            if not mounted:
                patch.setattr(os, "fsync", full)
                return
            with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
                while file.write(b"0" * 4096):
                    pass

        try:
            yield fill
        finally:
            patch.undo()
            (folder / "filler").unlink(missing_ok=True)
            kept = {path.name: path.read_bytes() for path in folder.iterdir()}
            if mounted:
                # At once, even if somebody looks into it: an indexer, or another process of the tests' own.
                subprocess.run(["umount", "--lazy", str(folder)], check=True)
                for name, content in kept.items():
                    (folder / name).write_bytes(content)


def test_a_full_disk_is_said_and_the_checkpoint_before_stays(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    message = r"the disk is full \([\d.,]+ [kM]B free\)\. What was saved before is whole: make room for"
    with small_disk(work) as fill, pytest.raises(OutputError, match=message):
        trained(work, checkpoint_seconds=0, observer=lambda p: fill() if p.epoch == 2 else None)
    assert [path.name for path in work.iterdir()] == [NAME]
    assert trained(work, resume=True).top == trained(tmp_path / "whole").top


def test_checkpoints_take_a_small_part_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    network = build(SETTINGS, 3, (8,), constant(0.1))
    monkeypatch.setattr(state.time, "monotonic", lambda: now[0])
    checkpoint = state.Checkpoint(tmp_path, {})
    assert not checkpoint.due()
    now[0] += 2.0
    assert checkpoint.due()

    def slow(*_: Any) -> None:
        now[0] += 1.0

    monkeypatch.setattr(state.checkpoint, "save", slow)
    checkpoint.save(network, Session(network.graph, "cpu"))
    now[0] += 19.0
    assert not checkpoint.due()
    now[0] += 2.0
    assert checkpoint.due()
