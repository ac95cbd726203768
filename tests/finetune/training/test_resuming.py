"""Runs that were killed, and what must not be resumed."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune.training import Settings, Trained, TrainingData, train_head
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
    assert not list((tmp_path / "killed").glob(f".{NAME}-*"))  # halves are cleared away


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
            r"cannot be resumed: settings: epochs was 3, now 9\. Go",
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


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file: cannot be written .*Choose a folder of yours"):
        trained(tmp_path / "file")
