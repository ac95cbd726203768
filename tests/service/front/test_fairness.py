"""The loop belongs to all clients: what they send is read in turns, each of which ends soon."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable

import pytest

from service.front.limits import ByteBudget, Limits
from service.front.plain import Request
from service.front.ration import Ration
from service.front.requests import RequestReader
from tests.service.front.site import PATIENCE_S, Site, get, head_of_post

_PIECE = 1 << 16  # bytes that are read at once


def test_many_chunks_that_came_at_once_leave_turns_to_others() -> None:
    async def turns_while_reading() -> tuple[int, int]:
        stream = asyncio.StreamReader(limit=1 << 20)
        stream.feed_data(get("/", "Transfer-Encoding: chunked", method="POST"))
        stream.feed_data(b"1\r\nx\r\n" * 4000 + b"0\r\n\r\n")
        reader = RequestReader(stream, Limits(), ByteBudget(1 << 20), Ration(1 << 20))
        request = await reader.header()
        assert isinstance(request, Request)
        reading = asyncio.create_task(reader.body(request))
        turns = 0
        while not reading.done():
            turns += 1
            await asyncio.sleep(0)
        return turns, len(reading.result())

    turns, size = asyncio.run(turns_while_reading())
    assert size == 4000
    assert turns > 4000 // 64


@pytest.mark.parametrize("chunked", [False, True])
def test_a_turn_goes_on_with_its_ration_however_many_send_large_bodies(chunked: bool) -> None:
    clients, size, ration = 32, 1 << 19, 1 << 18
    head = get("/", "Transfer-Encoding: chunked", method="POST") if chunked else head_of_post("/", size)
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size)) if chunked else bytes(size)

    async def sizes_of_turns() -> list[int]:
        budget, shared = ByteBudget(2 * clients * size), Ration(ration)
        readings = []
        for _ in range(clients):
            stream = asyncio.StreamReader()
            stream.feed_data(head)
            reader = RequestReader(stream, Limits(), budget, shared)
            request = await reader.header()
            assert isinstance(request, Request)
            stream.feed_data(body)
            readings.append(asyncio.create_task(reader.body(request)))
        held = [0]
        while not all(reading.done() for reading in readings):
            await asyncio.sleep(0)
            held.append(budget.held)
        assert all(reading.result() == bytes(size) for reading in readings)
        return [after - before for before, after in itertools.pairwise(held)]

    turns = asyncio.run(sizes_of_turns())
    assert sum(turns) == clients * size
    assert max(turns) <= ration + _PIECE


def test_who_wants_no_more_than_a_ration_does_not_wait() -> None:
    async def turns_taken() -> int:
        ration, turns = Ration(1000), 0
        taking = asyncio.create_task(take_four_times(ration))
        while not taking.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    async def take_four_times(ration: Ration) -> None:
        for _ in range(4):
            await ration.take(250)

    assert asyncio.run(turns_taken()) == 1


def test_who_waits_for_a_ration_and_leaves_takes_none() -> None:
    async def turns_of_the_last() -> int:
        ration, turns = Ration(1), 0
        await ration.take(1)
        leaving = [asyncio.create_task(ration.take(1)) for _ in range(50)]
        last = asyncio.create_task(ration.take(1))
        await asyncio.sleep(0)
        for one in leaving:
            one.cancel()
        while not last.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(turns_of_the_last()) < 10


@pytest.mark.parametrize(("most", "status"), [(1 << 20, 200), (1000, 413)])
def test_bodies_of_all_clients_share_a_ration_refused_ones_too(
    serving: Callable[..., Site], most: int, status: int
) -> None:
    counted = threading.Event()

    class Counting(Ration):
        async def take(self, count: int) -> None:
            counted.set()
            await super().take(count)

    site = serving(body_bytes=most)
    site.server.gate.ration = Counting(_PIECE)
    with site.client() as client:
        assert client.ask(head_of_post("/echo", 1 << 20) + bytes(1 << 20)).status == status
        assert counted.wait(PATIENCE_S)
