"""Runs of a model that wait until the test lets them go, and tests that wait for what a service does by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from service.served import Served

WAIT_S = 120.0  # never waited for in full: a test that is right is woken


class Held:
    """The runs of one model: `entered` is set when the first has begun, `leave` lets all go on."""

    def __init__(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.leave = threading.Event(), threading.Event()
        self._run = served.batcher._run
        monkeypatch.setattr(served.batcher, "_run", self)

    def __call__(self, *arguments: Any) -> Any:
        self.entered.set()
        assert self.leave.wait(WAIT_S)
        return self._run(*arguments)


def wait_until(holds: Callable[[], object]) -> None:
    """Wait for what a service does by itself, and fail where it never does."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)
