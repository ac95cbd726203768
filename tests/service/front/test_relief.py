"""Memory is given back after large bodies, and not after small ones."""

from __future__ import annotations

import asyncio
import threading

import pytest

from service.front import gate as module
from service.front.gate import Gate, Routing
from service.front.limits import Limits


@pytest.fixture
def relieved() -> threading.Event:
    return threading.Event()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, relieved: threading.Event) -> Gate:
    monkeypatch.setattr(module, "_RELIEF_S", 0.0)
    routing = Routing((), lambda *_: True, lambda: 1.0, lambda *_: b"", relieved=relieved.set)
    return Gate(lambda environ, start: [], routing, Limits(), ("127.0.0.1", 80), None)


def turns(gate: Gate, count: int) -> None:
    """Let the loop look after memory so many times."""

    async def go() -> None:
        task = asyncio.create_task(gate.relieve())
        for _ in range(count):
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(go())


def test_many_bytes_that_were_let_go_are_given_back_once(gate: Gate, relieved: threading.Event) -> None:
    assert gate.budget.take(40 << 20, 0)
    gate.budget.give_back(40 << 20)
    turns(gate, 5)
    assert relieved.wait(30)
    relieved.clear()
    turns(gate, 5)
    assert not relieved.is_set()


@pytest.mark.parametrize(("taken", "given_back"), [(1 << 20, 1 << 20), (40 << 20, 0)])
def test_few_bytes_and_those_still_held_are_not(
    gate: Gate, relieved: threading.Event, taken: int, given_back: int
) -> None:
    assert gate.budget.take(taken, 0)
    gate.budget.give_back(given_back)
    turns(gate, 5)
    gate.close()
    assert not relieved.is_set()
