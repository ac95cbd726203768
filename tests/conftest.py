"""Fixtures that every part of the tests shares."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.model import Model
from models.runtime import RuntimeConfig
from tests import fixtures


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests away from the user's cache folder."""
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a classifier that tells red, green and blue images apart."""
    return fixtures.tiny_classifier(tmp_path_factory.mktemp("models") / "tiny.onnx")


@pytest.fixture(scope="session")
def tiny(tiny_path: Path) -> Model:
    """That classifier, on the CPU."""
    return Model.open(tiny_path, RuntimeConfig(device="cpu", threads=1))
