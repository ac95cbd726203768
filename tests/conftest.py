"""Fixtures that every part of the tests shares, and surroundings that are the same for everybody."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import pytest

from models.model import Model
from models.runtime import RuntimeConfig
from tests import fixtures

_surroundings = pytest.MonkeyPatch()
_caches = Path()  # the folder of all caches, while tests run
_numbers = itertools.count()


@pytest.hookimpl(trylast=True)  # pytest itself may be told to use colours
def pytest_configure() -> None:
    """Keep what is cached out of the user's folders, and the user's settings out of the tests.

    Before any test is imported: some libraries write into their cache when they are imported.
    """
    global _caches
    _caches = Path(tempfile.mkdtemp(prefix="graft-tests-"))
    _surroundings.setenv("XDG_CACHE_HOME", str(_caches))
    _surroundings.setenv("MPLCONFIGDIR", str(_caches / "matplotlib"))
    _surroundings.setenv("GRAFT_CACHE", str(_caches / "graft"))
    for name in ("GRAFT_CACHE_GB", "GRAFT_DEBUG", "COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR"):
        _surroundings.delenv(name, raising=False)


def pytest_unconfigure() -> None:
    _surroundings.undo()
    shutil.rmtree(_caches, ignore_errors=True)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a cache that no other test has filled."""
    monkeypatch.setenv("GRAFT_CACHE", str(_caches / f"graft-{next(_numbers)}"))


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a classifier that tells red, green and blue images apart."""
    return fixtures.tiny_classifier(tmp_path_factory.mktemp("models") / "tiny.onnx")


@pytest.fixture(scope="session")
def tiny(tiny_path: Path) -> Model:
    """That classifier, on the CPU."""
    return Model.open(tiny_path, RuntimeConfig(device="cpu", threads=1))
