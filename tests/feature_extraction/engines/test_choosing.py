"""Which engines there are, and what is said where one is not installed."""

from __future__ import annotations

import builtins
import sys

import pytest

from feature_extraction.engines.choosing import ENGINES, engine
from models.errors import LibraryError


@pytest.mark.parametrize("name", ENGINES)
def test_engine_that_is_not_installed_says_how_to_get_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, ENGINES[name], None)
    with pytest.raises(
        LibraryError, match=rf"the engine {name} needs the package {ENGINES[name]}.*\[{name}\]"
    ):
        engine(name)


def test_spark_without_java_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", builtins)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LibraryError, match=r"Spark needs Java 17 or later, and there is none here"):
        engine("spark")
