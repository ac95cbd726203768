"""Secrets that lie open are said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.permissions import too_open


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_permissions_that_are_too_open_are_said(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    assert too_open(file) == ""
    file.touch()
    for mode, words in (
        (0o600, ""),
        (0o640, ""),
        (0o644, "may read it"),
        (0o620, "may write it"),
        (0o666, "may write it"),
    ):
        file.chmod(mode)
        assert words in too_open(file)
        assert bool(words) == bool(too_open(file))
