"""A program that trains, is killed with SIGKILL again and again, resumes, and prints the SHA-256 of what comes out.

    python -m tests.finetune.training.killing head|blocks FOLDER

Each attempt is a child process that dies at a moment of its own: in a step, before, in the middle of, and after the
writing of a checkpoint. The first line is the digest of a run that nobody killed, the last that of the last attempt.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

from finetune.autodiff import Session, checkpoint
from finetune.training.blocks import train_blocks
from finetune.training.head import train_head
from finetune.training.result import Trained
from finetune.training.settings import Settings
from finetune.training.state import Checkpoint
from tests.finetune.training import problems

SETTINGS = Settings(epochs=4, batch_size=16, hidden=(6,), dropout=0.3, block_epochs=3, learning_rate=0.02)
Moment = tuple[str, int]  # where, and at which passing by
MOMENTS: list[Moment] = [
    ("step", 3),
    ("writing", 2),
    ("written", 4),
    ("replacing", 6),
    ("step", 9),
    ("writing", 7),
]


def train(method: str, work: Path, resume: bool) -> Trained:
    how: dict[str, Any] = {"device": "cpu", "threads": 1, "resume": resume, "checkpoint_seconds": 0}
    if method == "head":
        return train_head(problems.clusters(), SETTINGS, work, **how)
    return train_blocks(problems.maps(), problems.blocks(), "low", SETTINGS, work, **how)


def digest(trained: Trained) -> str:
    return hashlib.sha256(
        trained.top.model.SerializeToString() + repr(trained.top.chosen).encode()
    ).hexdigest()


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed")


def deadly(moment: Moment) -> Any:
    """A patch that kills this process at `moment`."""
    where, number = moment
    passed = 0

    def counted(
        original: Callable[..., Any], before: Callable[..., None], after: bool = False
    ) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal passed
            passed += 1
            if passed == number and not after:
                before(*args)
            result = original(*args, **kwargs)
            if passed == number:
                die()
            return result

        return call

    def half(path: Path, *_: Any) -> NoReturn:
        (path.parent / f".{path.name}.12345678").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        die()

    if where == "step":
        return mock.patch.object(Session, "run", counted(Session.run, lambda *_: die()))
    if where == "writing":
        return mock.patch.object(checkpoint, "save", counted(checkpoint.save, half))
    if where == "replacing":
        return mock.patch.object(os, "replace", counted(os.replace, lambda *_: die()))
    return mock.patch.object(checkpoint, "save", counted(checkpoint.save, lambda *_: None, after=True))


def attempt(method: str, work: Path, moment: Moment) -> None:
    child = os.fork()
    if not child:
        try:
            with deadly(moment):
                train(method, work, resume=True)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, f"{moment} was never reached: status {status}"


if __name__ == "__main__":
    method, folder = sys.argv[1], Path(sys.argv[2])
    for moment in MOMENTS:
        attempt(method, folder / "killed", moment)
    reached = Checkpoint(folder / "killed", identity={})
    with mock.patch.object(Checkpoint, "_require_same"):
        reached.open(resume=True)
    assert (reached.state.phase, reached.state.finished) == (method, False)  # killed in the last phase too
    resumed = digest(train(method, folder / "killed", resume=True))
    print(digest(train(method, folder / "whole", resume=False)))
    print(resumed)
