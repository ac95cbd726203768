"""Fixtures that every part of the tests shares, and surroundings that are the same for everybody."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

import models
from models.cores import SHARES

# What is cached stays out of the user's folders. This is said before anything heavy is imported, by a test or by
# another conftest.py: some libraries write where they are told to by then. onnxruntime from 1.29 on notes the number
# of the machine, and what it reports to its makers, and a test needs no network.
_caches = Path(tempfile.mkdtemp(prefix="graft-tests-"))
_numbers = itertools.count()
_KEPT = {
    "GRAFT_CACHE",
    "GRAFT_CUDA",
    "GRAFT_DATA",
    "GRAFT_IMAGES",
    "GRAFT_MODELS",
    "GRAFT_TRITON",
    "GRAFT_TRITON_GRPC",
}
_surroundings = pytest.MonkeyPatch()
_surroundings.setenv("XDG_CACHE_HOME", str(_caches))
_surroundings.setenv("MPLCONFIGDIR", str(_caches / "matplotlib"))
_surroundings.setenv("GRAFT_CACHE", str(_caches / "graft"))
_surroundings.setenv("ORT_DISABLE_TELEMETRY", "1")
# Tests compare with numbers of the CPU, to the bit where they can: a GPU is seen by those that are about it alone.
if not os.environ.get("GRAFT_CUDA"):
    _surroundings.setenv("CUDA_VISIBLE_DEVICES", "")
# Threads of OpenBLAS wait for each other at full speed: on a busy machine they take five times as long as one of them.
_surroundings.setenv("OPENBLAS_NUM_THREADS", "1")


@pytest.hookimpl(trylast=True)  # pytest itself may be told to use colours
def pytest_configure() -> None:
    """Keep the user's settings out of the tests."""
    ours = [name for name in os.environ if name.startswith("GRAFT_") and name not in _KEPT]
    for name in [*ours, "COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", *SHARES]:
        _surroundings.delenv(name, raising=False)


def pytest_unconfigure() -> None:
    _surroundings.undo()
    shutil.rmtree(_caches, ignore_errors=True)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name tests alike in every process, for plug-ins that share them out: tokens and packed bytes are new in each."""
    drawn = isinstance(val, bytes) or (isinstance(val, str) and re.search(r"[\w-]{40,}", val))
    return argname if drawn else None


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a cache that no other test has filled."""
    monkeypatch.setenv("GRAFT_CACHE", str(_caches / f"graft-{next(_numbers)}"))


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a classifier that tells red, green and blue images apart."""
    from tests import fixtures

    return fixtures.tiny_classifier(tmp_path_factory.mktemp("models") / "tiny.onnx")


@pytest.fixture(scope="session")
def tiny(tiny_path: Path) -> models.Model:
    """That classifier, on the CPU."""
    return models.Model.open(tiny_path, models.RuntimeConfig(device="cpu", threads=1))
