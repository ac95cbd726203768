"""Heads together with the blocks below them."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto

from finetune.autodiff import Session
from finetune.autodiff.schedules import constant
from finetune.training.blocks import train_blocks
from finetune.training.data import TrainingData
from finetune.training.network import Blocks, build
from finetune.training.rates import depth_factors
from finetune.training.result import EpochProgress, Trained
from finetune.training.settings import BLOCK_RATE, Settings
from models.errors import CutError, GraphError, InputError
from tests.finetune.autodiff.importing.networks import network, node, original, reals
from tests.finetune.training.problems import blocks, maps

QUICK = Settings(
    epochs=6, batch_size=16, learning_rate=0.02, block_epochs=12, block_learning_rate=0.02, rate_factor=0.5
)


def train(work: Path, data: TrainingData | None = None, settings: Settings = QUICK, **how: Any) -> Trained:
    how = {"device": "cpu", "threads": 1, "model": blocks(), "cut": "low", **how}
    return train_blocks(data or maps(), settings=settings, work=work, **how)


def run(model: ModelProto, x: Any, *names: str) -> list[Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert [value.name for value in session.get_inputs()] == ["features"]
    return list(session.run(list(names), {"features": x}))


def test_blocks_learn_what_a_head_cannot(tmp_path: Path) -> None:
    data = maps()
    trained = train(tmp_path, data)
    head, both = trained.history
    assert (head.name, both.name) == ("head", "blocks")
    accuracies = [phase.epochs[max(phase.best_epoch, 1) - 1].val_accuracy or 0 for phase in trained.history]
    assert accuracies[0] < 0.75 < 0.9 < accuracies[1]
    embedding, logits = run(trained.top.model, data.val_x, "embedding", "logits")
    assert embedding.shape == (len(data.val_x), 6)
    assert (logits.argmax(1) == data.val_y).mean() == accuracies[1]


def test_frozen_batch_norm_is_frozen(tmp_path: Path) -> None:
    """The same answers in training and out of it, and the statistics of the pretrained network to the end."""
    data = maps()
    how = Blocks(blocks(), "low", "pool")
    made = build(QUICK, 2, (4, 8, 8), constant(0.1), blocks=how)
    session = Session(made.graph, "cpu", threads=1)
    for _ in range(3):
        session.run(made.train, {made.x: data.val_x, made.y: data.val_y})
    both = [session.run(made.pooled, {made.x: data.val_x}, training=mode) for mode in (True, False)]
    np.testing.assert_array_equal(*both)
    names = {v.name for v in made.trained}
    assert not {name for name in names if "mean" in name or "variance" in name}
    for variable in made.graph.variables:
        if variable.name in ("blocks/bn/mean", "blocks/bn/variance"):
            np.testing.assert_array_equal(session.value(variable), variable.initial)


def test_without_a_step_the_blocks_are_those_of_the_file(tmp_path: Path) -> None:
    data = maps()
    settings = dataclasses.replace(QUICK, block_learning_rate=1e-30, block_epochs=1)
    trained = train(tmp_path, data, settings)
    (embedding,) = run(trained.top.model, data.val_x, "embedding")
    images = reals(3, 3, 8, 8)
    low, pool = original(blocks(), {"x": images}, ["low", "pool"])
    np.testing.assert_allclose(run(trained.top.model, low, "embedding")[0], pool, rtol=1e-4, atol=1e-5)
    assert embedding.shape == (len(data.val_x), 6)


def test_the_head_alone_is_kept_where_blocks_make_it_worse(tmp_path: Path) -> None:
    settings = dataclasses.replace(
        QUICK, block_learning_rate=5.0, block_epochs=2, clip_norm=1.0, rate_factor=1.0
    )
    trained = train(tmp_path, settings=settings)
    assert trained.history[1].best_epoch == 0
    low = reals(2, 4, 8, 8)
    head = train(tmp_path / "b", settings=dataclasses.replace(settings, block_learning_rate=1e-30))
    np.testing.assert_allclose(
        run(trained.top.model, low, "logits")[0], run(head.top.model, low, "logits")[0], rtol=1e-4, atol=1e-4
    )


def test_rates_fall_with_depth() -> None:
    made = build(QUICK, 2, (4, 8, 8), constant(0.1), blocks=Blocks(blocks(), "low", "pool"))
    below = [v for v in made.trained if v.name.startswith("blocks/")]
    assert [v.name for v in below][:2] == ["blocks/block_1/weight", "blocks/block_1/bias"]
    factors = list(depth_factors(below, 0.1).values())
    assert factors[0] == pytest.approx(0.01)
    assert factors[-1] == pytest.approx(0.1)
    assert factors == sorted(factors)


def test_deep_weights_move_less(tmp_path: Path) -> None:
    """With plain gradient descent a factor of the rate is a factor of the step."""
    moved = []
    for factor in (1.0, 0.1):
        settings = Settings(optimizer="sgd", weight_decay=0, rate_factor=factor)
        made = build(settings, 2, (4, 8, 8), constant(0.1), blocks=Blocks(blocks(), "low", "pool"))
        session = Session(made.graph, "cpu", threads=1)
        session.load({made.head[0][0]: reals(6, 2)})
        session.run(made.train, {made.x: maps().val_x, made.y: maps().val_y})
        lowest = made.trained[0]
        moved.append(float(np.abs(session.value(lowest) - reals(5, 4, 3, 3)).max()))
    assert moved[1] == pytest.approx(moved[0] * 0.01, rel=1e-2)


def test_weights_decay_and_biases_do_not() -> None:
    settings = Settings(optimizer="adamw", weight_decay=0.5, rate_factor=1.0)
    made = build(settings, 2, (4, 8, 8), constant(0.1), blocks=Blocks(blocks(), "low", "pool"))
    session = Session(made.graph, "cpu", threads=1)
    before = {v: session.value(v) for v in made.trained}
    dead = {
        made.x: np.zeros((2, 4, 8, 8), np.float32),
        made.y: np.array([0, 1]),
    }  # the head is 0
    session.run(made.train, dead)
    for variable, value in before.items():
        if variable.name.startswith("blocks/"):
            factor = 0.95 if value.ndim > 1 else 1.0
            np.testing.assert_allclose(
                session.value(variable), value * factor, rtol=1e-5, err_msg=variable.name
            )


def test_regression(tmp_path: Path) -> None:
    data = maps()
    numbers = TrainingData(data.x, data.y * 300.0 + 7000, data.val_x, data.val_y * 300.0 + 7000, 0)
    trained = train(tmp_path, numbers)
    (value,) = run(trained.top.model, data.val_x, "value")
    assert np.abs(value - numbers.val_y).mean() < 100
    assert (trained.history[1].epochs[-1].val_r2 or 0) > 0.5


def test_ctrl_c_between_the_phases_gives_the_head(tmp_path: Path) -> None:
    def interrupt(progress: EpochProgress) -> None:
        if progress.phase == "head" and progress.epoch == 6:
            signal.raise_signal(signal.SIGINT)

    stopped = train(tmp_path, observer=interrupt)
    assert stopped.interrupted
    assert [phase.name for phase in stopped.history] == ["head"]
    assert run(stopped.top.model, maps().val_x, "logits")[0].shape == (30, 2)
    resumed = train(tmp_path, resume=True)
    assert resumed.top == train(tmp_path / "whole").top


def test_blocks_have_a_rate_of_their_own(tmp_path: Path) -> None:
    settings = dataclasses.replace(QUICK, epochs=1, block_learning_rate=None, block_epochs=1)
    assert train(tmp_path, settings=settings).history[1].learning_rate == BLOCK_RATE


def test_an_operator_without_a_gradient_names_the_way_out(tmp_path: Path) -> None:
    model = network(
        [
            node("Conv", ["x", "w"], ["low"], pads=[1, 1, 1, 1]),
            node("Hardmax", ["low"], ["odd"], name="odd_one"),
            node("GlobalAveragePool", ["odd"], ["map"]),
            node("Flatten", ["map"], ["pool"]),
            node("MatMul", ["pool", "v"], ["y"]),
        ],
        {"w": reals(4, 3, 3, 3), "v": reals(4, 2)},
    )
    with pytest.raises(
        GraphError, match=r"node 'odd_one' is a Hardmax.*--method head.*unfreeze from a later cut"
    ):
        train(tmp_path, model=model)
    assert not list(tmp_path.glob("*.npy"))


def test_data_of_another_cut_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CutError, match=r"low is \(4, 8, 8\) for an image; the data are \(4, 6, 6\)"):
        train(tmp_path, maps(size=6))


def test_optimizers_that_forget_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="'ftrl', which computes weights anew and would lose the pretrained ones"
    ):
        train(tmp_path, settings=Settings(optimizer="ftrl"))


def test_a_map_can_be_the_embedding(tmp_path: Path) -> None:
    trained = train(tmp_path, embedding="high")
    assert trained.top.chosen["embedding"] == "high"
    embedding = run(trained.top.model, maps().val_x, "embedding")[0]
    assert embedding.shape == (30, 6)  # averaged over positions
