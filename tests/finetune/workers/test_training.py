"""Steps that several processes share against those of one."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from finetune.training.data import TrainingData
from finetune.training.learner import LocalLearner
from finetune.training.network import Blocks
from finetune.training.result import Trained
from finetune.training.settings import Settings
from finetune.workers.team import Team, Worker
from finetune.workers.training import SharedLearner, _Step
from models.errors import NumericsError
from tests.finetune.training.problems import blocks, maps, plane
from tests.finetune.workers.shared_steps import AWKWARD, labels, plan_of, trained, unbalanced, walked
from tests.finetune.workers.threads import on_threads


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize(
    ("data", "model"),
    [(unbalanced(), None), (labels(), None), (plane(), None), (maps(), Blocks(blocks(), "low", "pool"))],
    ids=["head", "labels", "regression", "blocks"],
)
def test_steps_of_several_come_to_those_of_one(
    workers: int, data: TrainingData, model: Blocks | None
) -> None:
    chosen = AWKWARD if data.classes else {**AWKWARD, "class_weights": None, "label_smoothing": 0.0}
    plan = plan_of(data, Settings(**chosen), model)
    alone = walked(LocalLearner(plan, "cpu", 1), data, 30)
    ends = on_threads(workers, lambda team: walked(SharedLearner(team, plan, "cpu", 1), data, 30))
    together = ends[0].result()
    assert together is not None
    assert together.keys() == alone.keys()
    for name, value in alone.items():
        if workers == 1:  # the split alone changes no bit
            np.testing.assert_array_equal(together[name], value, err_msg=name)
        np.testing.assert_allclose(together[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("place", [0, 29], ids=["in the first", "in the last"])
def test_a_loss_that_is_not_finite_ends_all_with_one_error_and_changes_nothing(place: int) -> None:
    data = unbalanced()
    plan = plan_of(data, Settings(**AWKWARD))
    x, y = data.rows[:: data.views][:30].copy(), data.y[:30]
    before: dict[str, np.ndarray] = {}
    after: dict[str, np.ndarray] = {}

    def job(team: Team) -> None:
        learner = SharedLearner(team, plan, "cpu", 1)
        learner.share()
        learner.step(x, y)
        before.update({v.name: learner.session.value(v) for v in learner.network.kept})
        spoilt = x.copy()
        spoilt[place] = np.nan
        try:
            learner.step(spoilt, y)
        finally:
            after.update({v.name: learner.session.value(v) for v in learner.network.kept})

    alone = LocalLearner(plan, "cpu", 1)
    alone.step(x, y)
    x_spoilt = x.copy()
    x_spoilt[place] = np.nan
    with pytest.raises(NumericsError, match="is NaN or infinite at step 1; no variable was changed") as error:
        alone.step(x_spoilt, y)
    for end in on_threads(3, job):
        with pytest.raises(NumericsError, match=f"^{re.escape(str(error.value))}$"):
            end.result()
    assert before.keys() == after.keys() != set()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


def test_a_batch_smaller_than_the_team_is_shared_too() -> None:
    data = unbalanced()
    plan = plan_of(data, Settings(**AWKWARD))
    alone = walked(LocalLearner(plan, "cpu", 1), data, 2)
    together = on_threads(3, lambda team: walked(SharedLearner(team, plan, "cpu", 1), data, 2))[0].result()
    assert together is not None
    for name, value in alone.items():
        np.testing.assert_allclose(together[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_what_is_inferred_in_parts_is_in_order(rows: int) -> None:
    data = maps()
    plan = plan_of(data, Settings(), Blocks(blocks(), "low", "pool"))
    expected = LocalLearner(plan, "cpu", 1).infer("pooled", data.val_x[:rows], 4)
    ends = on_threads(
        3, lambda team: SharedLearner(team, plan, "cpu", 1).infer("pooled", data.val_x[:rows], 4)
    )
    values = ends[0].result()
    assert expected.shape == (rows, 6)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def test_a_whole_training_is_that_of_one_and_resumes_in_either(tmp_path: Path) -> None:
    data = unbalanced()
    alone = trained(data, tmp_path / "alone")
    together = on_threads(2, lambda team: trained(data, tmp_path / "two", partial(SharedLearner, team)))[
        0
    ].result()
    assert together is not None
    for one, other in zip(alone.history[0].epochs, together.history[0].epochs, strict=True):
        assert other.loss == pytest.approx(one.loss, rel=1e-4)
        assert other.val_loss == pytest.approx(one.val_loss, rel=1e-4)
        assert other.accuracy == one.accuracy
    # A finished one has nothing to add: its checkpoint is read, in one process now.
    again = trained(data, tmp_path / "two", resume=True)
    assert again.history == together.history
    assert top_values(again) == top_values(together)


def top_values(learned: Trained) -> dict[str, bytes]:
    return {tensor.name: tensor.raw_data for tensor in learned.top.model.graph.initializer}


def test_ctrl_c_at_a_worker_ends_training_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are threads here, which get no signals: the note that one would take is put in its place."""
    real = _Step.do

    def pressed(self: _Step, worker: Worker) -> None:
        worker.interrupted = worker.about.rank == 2
        real(self, worker)

    monkeypatch.setattr(_Step, "do", pressed)
    ends = on_threads(3, lambda team: trained(unbalanced(), tmp_path, partial(SharedLearner, team)))
    learned = ends[0].result()
    assert learned is not None
    assert learned.interrupted
    assert not learned.history[0].epochs
    assert [end.result() for end in ends[1:]] == [None, None]
