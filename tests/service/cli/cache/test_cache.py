"""`graft cache`: how full it is, emptying it, and a cache that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.service.running import Run


def test_cache_is_told_of_and_cleared(
    graft: Run, tiny_path: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    graft("features", photos, "-m", tiny_path, "-o", tmp_path / "out")
    assert json.loads(graft("cache", "info", "--json").stdout)["vectors"] == 3
    assert "vectors  3\n" in graft("cache", "info").stdout
    assert graft("cache", "clear").stdout.startswith("3 vectors forgotten")
    assert json.loads(graft("cache", "info", "--json").stdout)["vectors"] == 0


def test_cache_that_cannot_be_used_is_told_of(
    graft: Run, tiny_path: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "file" / "cache"))
    result = graft("features", photos, "-m", tiny_path, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "the cache is not used" in result.stderr
    assert graft("cache", "clear").exit_code == 2
    assert "the cache is not used" in graft("cache", "info").stderr
