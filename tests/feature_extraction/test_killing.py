"""Real processes that are killed between any two steps to the disk."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from tests.feature_extraction.killing import FORMATS, contents, photos, start

STEPS = 20  # before a process is killed at the latest; a whole run has 52 and more


@pytest.mark.smoke
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL on Windows")
@pytest.mark.parametrize("form", FORMATS)
def test_run_that_is_killed_twice_ends_with_the_same_bytes(
    tiny_path: Path, tmp_path: Path, form: str
) -> None:
    command = [str(photos(tmp_path / "photos")), "--model", str(tiny_path), "--format", form]
    whole = start([*command, "--out", str(tmp_path / "whole"), "--no-cache"], tmp_path)
    _, errors = whole.communicate()
    assert whole.returncode == 1, errors.decode()  # three images are broken
    dice, arguments = random.Random(form), [*command, "--out", str(tmp_path / "out"), "--resume"]
    for step, expected in (
        (dice.randrange(STEPS), -signal.SIGKILL),
        (dice.randrange(STEPS), -signal.SIGKILL),
        (-1, 1),
    ):
        process = start(arguments, tmp_path / "cache", step)
        _, errors = process.communicate()
        assert process.returncode == expected, errors.decode()
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
