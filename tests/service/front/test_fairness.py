"""The loop belongs to all clients: what one sends is read in turns."""

from __future__ import annotations

import asyncio

from service.front.limits import ByteBudget, Limits
from service.front.plain import Request
from service.front.requests import RequestReader
from tests.service.front.site import get


def test_many_chunks_that_came_at_once_leave_turns_to_others() -> None:
    async def turns_while_reading() -> tuple[int, int]:
        stream = asyncio.StreamReader(limit=1 << 20)
        stream.feed_data(get("/", "Transfer-Encoding: chunked", method="POST"))
        stream.feed_data(b"1\r\nx\r\n" * 4000 + b"0\r\n\r\n")
        reader = RequestReader(stream, Limits(), ByteBudget(1 << 20))
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
