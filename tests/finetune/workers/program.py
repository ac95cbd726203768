"""What each process of an MPI program does in the tests: `python -m ... SCENARIO FOLDER`."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np

from finetune.training.learner import LocalLearner
from finetune.training.network import Blocks
from finetune.training.result import Trained
from finetune.training.settings import Settings
from finetune.workers.mpi import MpiGroup
from finetune.workers.team import Team, Worker, run
from finetune.workers.training import SharedLearner, _Step
from models.errors import GraftError
from tests.finetune.training.problems import blocks, maps
from tests.finetune.workers.shared_steps import AWKWARD, plan_of, trained, unbalanced, walked


def steps(team: Team, folder: Path) -> None:
    """The largest difference, over all variables, to one process that has the whole batch."""
    worst = 0.0
    for data, model in ((unbalanced(), None), (maps(), Blocks(blocks(), "low", "pool"))):
        plan = plan_of(data, Settings(**AWKWARD), model)
        alone = walked(LocalLearner(plan, "cpu", 1), data, 30)
        together = walked(SharedLearner(team, plan, "cpu", 1), data, 30)
        worst = max(
            worst,
            *(
                float(np.abs((together[name] - one) / np.maximum(np.abs(one), 1)).max())
                for name, one in alone.items()
            ),
        )
    print(f"difference {worst:.3g}")


def nan(team: Team, folder: Path) -> None:
    """Not a number, among the rows of the last process."""
    data = unbalanced()
    plan = plan_of(data, Settings(**AWKWARD))
    learner = SharedLearner(team, plan, "cpu", 1)
    learner.share()
    x = data.rows[:: data.views][:30].copy()
    x[-1] = np.nan
    learner.step(x, data.y[:30])


def train(team: Team, folder: Path) -> Trained:
    """A training with a checkpoint after each step."""
    learned = trained(unbalanced(), folder, partial(SharedLearner, team), resume=True, checkpoint_seconds=0)
    print(f"interrupted {learned.interrupted} epochs {len(learned.history[0].epochs)}")
    return learned


def at_step(number: int, number_of_signal: int) -> None:
    """Let this process get a signal in the middle of a step."""
    real, count = _Step.do, 0

    def struck(self: _Step, worker: Worker) -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), number_of_signal)
        real(self, worker)

    _Step.do = struck  # type: ignore[method-assign]


def main() -> None:
    scenario, folder = sys.argv[1], Path(sys.argv[2])
    group = MpiGroup()
    if group.rank == 1 and scenario in ("interrupt", "die"):
        at_step(7, signal.SIGINT if scenario == "interrupt" else signal.SIGKILL)
    job = {"steps": steps, "nan": nan}.get(scenario, train)
    try:
        run(group, lambda team: job(team, folder))
    except GraftError as exc:
        (folder / f"error-{group.rank}").write_text(f"{type(exc).__name__}: {exc}")
    (folder / f"end-{group.rank}").touch()
