"""At which rate blocks are trained."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest

from finetune.heads.top import Top
from finetune.job.trainings import tried_rate
from finetune.training.data import TrainingData
from finetune.training.result import Epoch, Phase, Trained
from finetune.training.settings import Settings
from models.errors import NumericsError

DATA = TrainingData(
    np.zeros((2, 1, 3), np.float32), np.arange(2), np.zeros((2, 3), np.float32), np.arange(2), 2
)


@pytest.mark.parametrize(
    ("given", "after", "taken", "asked"),
    [
        (None, {0.001: 1.2, 0.003: 1.69}, 0.003, [(0.001, 1), (0.003, 1)]),
        (None, {0.001: 0.8, 0.003: 1.71}, 0.001, [(0.001, 1), (0.003, 1)]),
        (None, {0.001: 1.71, 0.0003: 1.6}, 0.0003, [(0.001, 1), (0.0003, 1)]),
        (None, {0.001: 3.0, 0.0003: 1.8}, None, [(0.001, 1), (0.0003, 1)]),
        (None, {0.001: math.nan, 0.0003: 0.9}, 0.0003, [(0.001, 1), (0.0003, 1)]),
        (0.01, {0.01: 1.3}, 0.01, [(0.01, 2)]),
        (0.01, {0.01: 1.8}, None, [(0.01, 2)]),
    ],
)
def test_the_largest_rate_is_taken_that_blocks_bear_in_two_epochs_altogether(
    given: float | None, after: dict[float, float], taken: float | None, asked: list[tuple[float, int]]
) -> None:
    trials = []

    def train(_: object, name: str, words: str, how: Settings, **options: object) -> Trained:
        rate = how.block_learning_rate
        assert rate is not None
        trials.append((rate, how.block_epochs))
        assert name == f"trial-{rate:g}"
        assert options == {"keep_last": True, "given": None}
        if math.isnan(after[rate]):
            raise NumericsError("the loss became NaN")
        begun, ended = (Epoch(rate, 1.0, 0.5, None, loss, loss, 0.5, None) for loss in (1.0, after[rate]))
        return Trained(Top(onnx.ModelProto()), (Phase("blocks", rate, 0, (ended,), start=begun),), 0.0)

    rate, notes = tried_rate(train, DATA, Settings(block_learning_rate=given), given=None)
    assert (rate, trials) == (taken, asked)
    ends = {
        one: "beyond all numbers" if math.isnan(loss) else f"from 1 to {loss:g}"
        for one, loss in after.items()
    }
    assert all(f"at {one:g} {ends[one]}" in notes[0] for one, _ in asked)
    assert ("the top blocks brought nothing: 2 epochs" in notes[-1]) == (taken is None)


def test_a_rate_of_ones_own_that_diverges_is_said() -> None:
    def train(*_: object, **__: object) -> Trained:
        raise NumericsError("the loss became NaN")

    with pytest.raises(NumericsError, match="the loss became NaN"):
        tried_rate(train, DATA, Settings(block_learning_rate=3.0))
