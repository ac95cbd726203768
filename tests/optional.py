"""What not every machine has: pretrained networks, data sets, extras. Without them a test is skipped, and says so."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import ModuleType

import pytest


def pretrained(name: str) -> Path:
    """A file in the folder of pretrained networks."""
    return _below("GRAFT_MODELS", name)


def data_set(name: str) -> Path:
    """A folder or file in the folder of data sets."""
    return _below("GRAFT_DATA", name)


def _below(variable: str, name: str) -> Path:
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"{variable} is not set; it names the folder with {name}")
    path = Path(folder) / name
    if not path.exists():
        pytest.skip(f"{variable} is {folder}, where there is no {name}")
    return path


def library(module: str, extra: str) -> ModuleType:
    """A module that an extra of pyproject.toml brings; without it the test or the file that asks is skipped."""
    reason = f"{module} is not installed; pip install '.[{extra}]' brings it"
    imported: ModuleType = pytest.importorskip(module, reason=reason)
    return imported


def program(name: str, package: str = "") -> str:
    """The path of a program that a package of Debian brings; the name of the package where it is another."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed; apt-get install {package or name} brings it")
    return path
