"""Heads on features: what they learn, what they decide, what they give."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from finetune.training.data import TrainingData
from finetune.training.head import train_head
from finetune.training.measuring import cross_entropy, refined
from finetune.training.result import EpochProgress, Trained
from finetune.training.settings import OPTIMIZERS, SCHEDULES, Settings
from models.errors import InputError, NumericsError
from tests.finetune.training.problems import clusters, plane

QUICK = Settings(epochs=15, batch_size=16, learning_rate=0.02)


def train(work: Path, data: TrainingData, settings: Settings = QUICK, **how: Any) -> Trained:
    return train_head(data, settings, work, device="cpu", threads=1, **how)


def run(trained: Trained, x: Any, *names: str) -> list[Any]:
    session = onnxruntime.InferenceSession(trained.top.model.SerializeToString())
    assert [value.name for value in session.get_inputs()] == ["features"]
    return list(session.run(list(names), {"features": x}))


@pytest.mark.parametrize("hidden", [(), (16,), (16, 8)])
def test_it_learns_classes(tmp_path: Path, hidden: tuple[int, ...]) -> None:
    data = clusters()
    trained = train(tmp_path, data, dataclasses.replace(QUICK, hidden=hidden, dropout=0.2))
    embedding, logits = run(trained, data.val_x, "embedding", "logits")
    assert (logits.argmax(1) == data.val_y).mean() > 0.95
    assert embedding.shape == (len(data.val_x), hidden[-1] if hidden else 8)
    (phase,) = trained.history
    best = phase.epochs[phase.best_epoch - 1]
    assert best.val_accuracy == (logits.argmax(1) == data.val_y).mean()
    assert best.val_refined == min(epoch.val_refined or 0 for epoch in phase.epochs)
    high = logits.astype(np.float64)
    losses = np.log(np.exp(high).sum(1)) - high[np.arange(len(high)), data.val_y]
    np.testing.assert_allclose(
        best.val_loss, losses.mean(), rtol=1e-4
    )  # the standardisation went into the weights


@pytest.mark.parametrize("hidden", [(), (32,)])
def test_it_learns_numbers(tmp_path: Path, hidden: tuple[int, ...]) -> None:
    data = plane()
    settings = Settings(
        epochs=120, batch_size=16, learning_rate=0.05, weight_decay=0, hidden=hidden, patience=None
    )
    trained = train(tmp_path, data, settings)
    (value,) = run(trained, data.val_x, "value")
    assert value.shape == data.val_y.shape
    r2 = 1 - np.square(value - data.val_y).sum() / np.square(data.val_y - data.val_y.mean()).sum()
    assert r2 > (0.9 if hidden else 0.99)
    best = trained.history[0].epochs[trained.history[0].best_epoch - 1]
    assert (best.accuracy, best.val_accuracy) == (None, None)
    np.testing.assert_allclose(best.val_r2, r2, atol=1e-4)
    if not hidden:  # the closed form
        x = np.c_[data.x[:, 0], np.ones(len(data.x))].astype(np.float64)
        solution = np.linalg.lstsq(x, data.y.astype(np.float64), rcond=None)[0]
        np.testing.assert_allclose(value, np.c_[data.val_x, np.ones(len(value))] @ solution, atol=15)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns_at_the_rate_that_is_found(tmp_path: Path, optimizer: Any) -> None:
    data = clusters()
    phase = train(
        tmp_path, data, Settings(optimizer=optimizer, epochs=12, batch_size=16, clip_norm=5.0)
    ).history[0]
    assert (phase.epochs[phase.best_epoch - 1].val_accuracy or 0) > 0.9
    rates = [rate for rate, _ in phase.finder]
    np.testing.assert_allclose(np.diff(np.log(rates)), np.diff(np.log(rates))[0], rtol=1e-2)
    lowest = min(phase.finder, key=lambda point: point[1])[0]
    assert phase.learning_rate == pytest.approx(lowest / 30, rel=0.1)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules(tmp_path: Path, schedule: Any) -> None:
    settings = dataclasses.replace(QUICK, schedule=schedule, epochs=10, patience=None, warmup=0.2)
    rates = [epoch.rate for epoch in train(tmp_path, clusters(), settings).history[0].epochs]
    peak = int(np.argmax(rates))
    assert max(rates) <= 0.02 * (1 + 1e-6)
    assert peak <= 3
    if schedule == "constant":
        np.testing.assert_allclose(rates[2:], 0.02, rtol=1e-6)
    else:
        assert np.all(np.diff(rates[peak:]) < 0)
        assert rates[-1] < (0.0003 if schedule == "exponential" else 0.0001)


def test_it_stops_when_validation_no_longer_gets_better(tmp_path: Path) -> None:
    data = clusters(spread=4.0)
    settings = Settings(
        epochs=60, batch_size=16, learning_rate=0.3, patience=3, schedule="constant", hidden=(64,)
    )
    (phase,) = train(tmp_path, data, settings).history
    assert len(phase.epochs) == phase.best_epoch + 3 < 60


def test_too_sure_is_not_taken_for_worse() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 200)
    logits = rng.normal(size=(200, 4)) + 2 * np.eye(4)[y]
    lowest = min(cross_entropy(logits * factor, y) for factor in np.geomspace(0.01, 100, 2000))
    for factor in (0.05, 1.0, 30.0):
        assert refined(logits * factor, y) == pytest.approx(lowest, rel=1e-4)
    assert cross_entropy(logits * 30, y) > 2 * lowest
    assert refined(np.eye(4)[y] * 5, y) < 1e-6  # all right: the surer the better


def test_without_validation_the_last_epoch_is_taken(tmp_path: Path) -> None:
    data = clusters()
    bare = dataclasses.replace(data, val_x=data.val_x[:0], val_y=data.val_y[:0])
    (phase,) = train(tmp_path, bare).history
    assert (phase.best_epoch, phase.epochs[-1].val_loss) == (15, None)


def test_each_view_is_used_once_in_as_many_epochs() -> None:
    data = clusters(views=4)
    rows = np.stack([data.view_rows(3, epoch) for epoch in range(4)])
    assert (np.sort(rows % 4, 0) == np.arange(4)[:, None]).all()
    assert (rows // 4 == np.arange(len(data.y))).all()
    assert len(set(rows[0] % 4)) == 4  # not all images show the same one
    batches = data.batches(3, 0, 32)
    assert sorted(np.concatenate(batches)) == list(range(90))
    assert {len(batch) for batch in batches} == {30}
    assert not np.array_equal(np.concatenate(batches), np.concatenate(data.batches(3, 1, 32)))


def test_a_memory_map_gives_the_same_bytes(tmp_path: Path) -> None:
    data = clusters()
    np.save(tmp_path / "x.npy", data.x)
    mapped = dataclasses.replace(data, x=np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert train(tmp_path / "a", mapped).top == train(tmp_path / "b", data).top


def test_the_seed_decides(tmp_path: Path) -> None:
    settings = dataclasses.replace(QUICK, hidden=(4,), dropout=0.5, epochs=2)
    one, two = (train(tmp_path, clusters(), dataclasses.replace(settings, seed=seed)).top for seed in (1, 2))
    assert one.model.SerializeToString() != two.model.SerializeToString()


def test_balanced_weights_help_a_rare_class(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [190, 10])
    x = (rng.normal(0, 1, (200, 1, 2)) + 1.2 * y[:, None, None]).astype(np.float32)
    data = TrainingData(x, y, x[:, 0], y, 2)
    recalls = []
    for weights in (None, "balanced"):
        settings = Settings(epochs=30, learning_rate=0.05, class_weights=weights, patience=None)  # type: ignore[arg-type]
        (logits,) = run(train(tmp_path, data, settings), x[:, 0], "logits")
        recalls.append((logits.argmax(1)[y == 1] == 1).mean())
    assert recalls[0] < 0.3 < 0.6 < recalls[1]


def test_columns_that_never_vary_do_no_harm(tmp_path: Path) -> None:
    data = clusters()
    x, val_x = data.x.copy(), data.val_x.copy()
    x[..., 0], val_x[..., 0] = 3, 1e6
    trained = train(tmp_path, dataclasses.replace(data, x=x, val_x=val_x))
    (logits,) = run(trained, val_x, "logits")
    assert (logits.argmax(1) == data.val_y).mean() > 0.9


def test_the_observer_hears_of_progress(tmp_path: Path) -> None:
    heard: list[EpochProgress] = []
    trained = train(tmp_path, clusters(), dataclasses.replace(QUICK, patience=None), observer=heard.append)
    ends = [progress for progress in heard if progress.step == progress.steps]
    assert [progress.epoch for progress in ends] == list(range(1, 16))
    assert (ends[0].phase, ends[0].epochs, ends[0].steps) == ("head", 15, 6)
    assert all(progress.val_loss is None for progress in heard if progress.step < progress.steps)
    epochs = trained.history[0].epochs
    told = [(progress.loss, progress.val_loss, progress.val_accuracy) for progress in ends]
    assert told == [
        (epoch.loss, epoch.val_refined, epoch.val_accuracy) for epoch in epochs
    ]  # of the same epoch
    assert trained.history[0].best_epoch == 1 + min(
        range(15), key=lambda i: ends[i].val_loss
    )  # the number decides


def test_ctrl_c_keeps_the_best_and_can_be_resumed(tmp_path: Path) -> None:
    def interrupt(progress: EpochProgress) -> None:
        if progress.epoch == 3 and progress.step == progress.steps:
            signal.raise_signal(signal.SIGINT)

    stopped = train(tmp_path, clusters(), observer=interrupt)
    assert stopped.interrupted
    assert len(stopped.history[0].epochs) == 3
    (logits,) = run(stopped, clusters().val_x, "logits")
    assert (logits.argmax(1) == clusters().val_y).mean() > 0.8
    resumed = train(tmp_path, clusters(), resume=True)
    assert not resumed.interrupted
    assert resumed.top == train(tmp_path / "whole", clusters()).top


def test_ctrl_c_in_the_first_epoch_gives_what_there_is(tmp_path: Path) -> None:
    stopped = train(tmp_path, clusters(), observer=lambda _: signal.raise_signal(signal.SIGINT))
    assert stopped.interrupted
    assert not stopped.history[0].epochs
    assert stopped.top.model.graph.output


def test_nan_stops_training_with_the_step_and_a_hint(tmp_path: Path) -> None:
    data = clusters()
    settings = dataclasses.replace(
        QUICK, optimizer="sgd", learning_rate=1e30, hidden=(8, 8), schedule="constant"
    )
    with pytest.raises(
        NumericsError, match=r"NaN or infinite at step \d+; .*Lower the learning rate.* keeps "
    ):
        train(tmp_path, data, settings)
    assert (tmp_path / "training.safetensors").exists()


def test_nan_in_features_is_said_before_training(tmp_path: Path) -> None:
    data = clusters()
    x = data.x.copy()
    x[3, 0, 2] = np.nan
    with pytest.raises(NumericsError, match=r"features hold NaN or infinity\. Look for damaged images"):
        train(tmp_path, dataclasses.replace(data, x=x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": clusters().x[:, 0]}, r"x is \(90, 8\); expected \(images, views, \.\.\.\)"),
        ({"y": clusters().y[1:]}, "90 training images have 89 labels"),
        ({"val_x": clusters().val_x[:, 1:]}, r"val_x is \(45, 7\); expected \(M, 8\)"),
        ({"x": clusters().x.astype(np.float64)}, "x is float64 and val_x float32; expected float32"),
        ({"y": clusters().y + 1}, "y holds int64 from 1 to 3; expected indices of 3 classes"),
        ({"classes": 1, "y": clusters().y * 0, "val_y": clusters().val_y * 0}, "one class only"),
    ],
)
def test_data_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(clusters(), **change)


def test_maps_are_not_for_a_head(tmp_path: Path) -> None:
    data = TrainingData(
        np.zeros((2, 1, 3, 4, 4), np.float32),
        np.arange(2),
        np.zeros((0, 3, 4, 4), np.float32),
        np.arange(0),
        2,
    )
    with pytest.raises(InputError, match=r"trained on vectors, \(images, views, features\)"):
        train(tmp_path, data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "adamm"}, "optimizer is 'adamm'; expected one of sgd, momentum"),
        ({"schedule": "step"}, "schedule is 'step'; expected one of cosine"),
        ({"learning_rate": 0}, "learning_rate is 0; expected a number above 0"),
        ({"epochs": 0}, "epochs is 0; expected a whole number from 1"),
        ({"dropout": 1.0}, "dropout is 1; expected a number from 0 to below 1"),
        ({"hidden": (0,)}, r"hidden is \(0,\); expected whole numbers from 1"),
        ({"rate_factor": 2}, "rate_factor is 2; expected a number above 0 to 1"),
        ({"weight_decay": -1}, "weight_decay is -1; expected a number from 0"),
        ({"class_weights": "equal"}, "class_weights is 'equal'; expected balanced"),
        ({"seed": -1}, "seed is -1; expected a whole number"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings(**change)


def test_settings_survive_json() -> None:
    settings = Settings(hidden=(64, 32), learning_rate=0.01)
    assert Settings(**settings.to_json()) == settings
