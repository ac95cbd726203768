"""Photos to learn from, and runs that are brief."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.finetune.brief import shorten
from tests.finetune.shades import folder_of


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of brick, grass and sky, twenty photos each."""
    return folder_of(tmp_path_factory.mktemp("photos") / "shades")


@pytest.fixture
def brief(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out plots and the other process, but for the tests that ask for `whole` runs."""
    if "whole" not in request.fixturenames:
        shorten(monkeypatch)


@pytest.fixture
def whole() -> None:
    """Run everything, plots and proof included."""
