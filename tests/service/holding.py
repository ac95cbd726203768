"""Runs of a model that wait until the test lets them go."""

from __future__ import annotations

import threading
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
