"""Ctrl-C comes when an import is over."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli.terminal.interrupting import interrupts_outside_imports


@pytest.fixture(autouse=True)
def default() -> Iterator[None]:
    """Python's own handler, which is not there where a shell runs the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_import_is_finished_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "interrupted_import.py").write_text(
        "import signal\nsignal.raise_signal(signal.SIGINT)\nWHOLE = [1 for _ in range(1000)]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt, match=r"^$"), interrupts_outside_imports():  # noqa: PT012
        assert len(importlib.import_module("interrupted_import").WHOLE) == 1000
        threading.Event().wait(30)
    assert "interrupted_import" in sys.modules
    del sys.modules["interrupted_import"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_elsewhere_it_comes_at_once() -> None:
    with pytest.raises(KeyboardInterrupt, match=r"^$"), interrupts_outside_imports():
        signal.raise_signal(signal.SIGINT)


def test_what_somebody_else_does_with_it_stays() -> None:
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        asked.append(number)

    signal.signal(signal.SIGINT, ask)
    with interrupts_outside_imports():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is ask
    assert asked == [signal.SIGINT]
