"""Event files of a training, read back with TensorBoard's own reader."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from finetune.training.blocks import train_blocks
from finetune.training.head import train_head
from finetune.training.result import EpochProgress, Trained
from finetune.training.settings import Settings
from finetune.training.state import Checkpoint
from tests import optional
from tests.finetune.training.problems import blocks, clusters, maps

optional.library("tensorboardX", extra="tensorboard")
event_accumulator = optional.library("tensorboard.backend.event_processing.event_accumulator", extra="test")

SETTINGS = Settings(epochs=4, batch_size=16, learning_rate=0.02, block_epochs=2)


class KilledError(Exception):
    """Stands for a signal: nothing is tidied up."""


def read(folder: Path) -> Any:
    return event_accumulator.EventAccumulator(str(folder), {"histograms": 0, "scalars": 0}).Reload()


def train(folder: Path, **how: Any) -> Trained:
    return train_head(
        clusters(), SETTINGS, folder / "work", device="cpu", threads=1, events=folder / "events", **how
    )


def steps(folder: Path, name: str) -> list[int]:
    return [point.step for point in read(folder / "events").Scalars(name)]


def test_curves_histograms_and_the_graph(tmp_path: Path) -> None:
    trained = train(tmp_path)
    found = read(tmp_path / "events")
    epochs = trained.history[0].epochs
    for name in ("loss", "accuracy", "val_loss", "val_refined", "val_accuracy", "rate"):
        points = found.Scalars(f"head/epoch/{name}")
        assert [point.step for point in points] == [1, 2, 3, 4]
        assert [point.value for point in points] == pytest.approx(
            [getattr(e, name) for e in epochs], rel=1e-6
        )
    assert steps(tmp_path, "head/step/loss") == list(range(1, 25))
    assert [h.step for h in found.Histograms("head/head/dense_1/weights")] == [1, 2, 3, 4]
    assert "head/dense_1/weights" in {node.name for node in found.Graph().node}


def test_both_phases_are_told(tmp_path: Path) -> None:
    train_blocks(
        maps(),
        blocks(),
        "low",
        SETTINGS,
        tmp_path / "work",
        device="cpu",
        threads=1,
        events=tmp_path / "events",
    )
    assert steps(tmp_path, "head/epoch/loss") == [1, 2, 3, 4]
    assert steps(tmp_path, "blocks/epoch/loss") == [1, 2]


@pytest.mark.parametrize("step", [9, 17])
def test_a_resumed_run_doubles_nothing(tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the dead run wrote behind its last checkpoint goes away."""

    def die(progress: EpochProgress) -> None:
        if progress.step == progress.steps and progress.epoch * 6 >= step:
            raise KilledError("in the middle")

    written: list[int] = []
    save = Checkpoint.save

    def seldom(self: Checkpoint, *args: Any) -> None:
        written.append(1)
        if len(written) <= 4:  # and so lags behind the events
            save(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", seldom)
        with pytest.raises(KilledError, match="in the middle"):
            train(tmp_path, checkpoint_seconds=0, observer=die)
    train(tmp_path, resume=True)
    assert sorted(steps(tmp_path, "head/step/loss")) == list(range(1, 25))
    assert sorted(steps(tmp_path, "head/epoch/loss")) == [1, 2, 3, 4]


def test_a_new_run_takes_the_place_of_an_old_one(tmp_path: Path) -> None:
    train(tmp_path)
    train(tmp_path)
    assert steps(tmp_path, "head/epoch/loss") == [1, 2, 3, 4]


def test_without_the_library_training_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_events = train(tmp_path / "a")
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)  # so that its import fails
    trained = train(tmp_path / "b")
    (note,) = trained.notes
    assert note.startswith("No event files for TensorBoard: ")
    assert "pip install '.[tensorboard]'" in note
    assert trained.top == with_events.top
    assert with_events.notes == ()


def test_many_steps_make_few_points(tmp_path: Path) -> None:
    train_head(
        clusters(count=300),
        Settings(epochs=2, batch_size=4, learning_rate=0.02),
        tmp_path / "work",
        device="cpu",
        threads=1,
        events=tmp_path / "events",
    )
    assert len(steps(tmp_path, "head/step/loss")) <= 20
