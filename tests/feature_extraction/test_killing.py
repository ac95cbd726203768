"""Real processes that are killed at random moments."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.feature_extraction.killing import FORMATS, contents, kill_until_done, photos, start


@pytest.mark.smoke
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL on Windows")
@pytest.mark.parametrize("form", FORMATS)
def test_run_that_is_killed_at_random_moments_ends_with_the_same_bytes(
    tiny_path: Path, tmp_path: Path, form: str
) -> None:
    command = [str(photos(tmp_path / "photos")), "--model", str(tiny_path), "--format", form]
    whole = start([*command, "--out", str(tmp_path / "whole"), "--no-cache"], tmp_path)
    _, errors = whole.communicate()
    assert whole.returncode == 1, errors.decode()
    outcome = kill_until_done(command, tmp_path / "out", tmp_path / "cache", 1.5, random.Random(form))
    assert outcome.kills
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
