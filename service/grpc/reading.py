"""Waiting for what clients send: bounded in time and number; who waits longest makes room for another."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import grpc

from models.errors import InputError
from service.front.gate import Gate
from service.front.requests import Refused

# A call that is broken off, or whose message is too large, looks as if it had ended; soon after gRPC cancels it.
_BROKEN_S = 0.1
_STOPS = "the server stops; connect again, another one may answer"


class Reading:
    """Reads messages of calls. Runs in the loop."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._calls: dict[asyncio.Timeout, bool] = {}  # that have sent nothing yet, the oldest first
        self._streams: dict[asyncio.Timeout, bool] = {}  # between two messages
        self._stopping = False

    async def first(self, context: Any) -> bytes:
        """The message of a call.

        Raises:
            Refused: it came too slowly, is too large, or others needed the room.
            InputError: the call ended without one.
        """
        limits = self._gate.limits
        seconds = limits.header_s + limits.body_s
        data: bytes = await self._wait(context.read(), self._calls, limits.workers, seconds)
        if data is grpc.aio.EOF:
            await asyncio.sleep(_BROKEN_S)
            raise InputError("the call ended without a message. Send one.")
        self._check_size(data)
        return data

    async def next(self, context: Any) -> bytes | None:
        """The next message of a stream, however long that takes; None at its end.

        Raises:
            Refused: it is too large, others needed the room, or the server stops.
        """
        data = await self._wait(context.read(), self._streams, self._gate.limits.connections, None)
        if data is grpc.aio.EOF:
            return None
        self._check_size(data)
        return data  # type: ignore[no-any-return]

    def _check_size(self, data: bytes) -> None:
        """Refuse what is too large since the configuration was read again; gRPC itself knows the limit of the start."""
        most = self._gate.limits.body_bytes
        if len(data) > most:
            raise Refused(413, f"the message has {len(data):,} bytes; at most {most:,} are taken")

    async def idle(self, seconds: float) -> None:
        """Wait for so long with a stream that is open.

        Raises:
            Refused: as `next`.
        """
        await self._wait(asyncio.sleep(seconds), self._streams, self._gate.limits.connections, None)

    def stop(self) -> None:
        """Let all who wait for another message of their stream know that the server stops."""
        self._stopping = True
        for one in list(self._streams):
            one.reschedule(0.0)

    async def _wait(
        self,
        event: Coroutine[Any, Any, Any],
        waiting: dict[asyncio.Timeout, bool],
        most: int,
        seconds: float | None,
    ) -> Any:
        if self._stopping and waiting is self._streams:
            event.close()
            raise Refused(503, _STOPS, 1.0)
        if len(waiting) >= most:
            oldest = next(iter(waiting))
            del waiting[oldest]
            oldest.reschedule(0.0)
        made_room = False
        try:
            async with asyncio.timeout(seconds) as limit:
                waiting[limit] = True
                try:
                    return await event
                finally:
                    made_room = not waiting.pop(limit, False)
        except TimeoutError:
            if self._stopping:
                raise Refused(503, _STOPS, 1.0) from None
            if made_room:
                raise Refused(429, f"{most} calls wait for their clients, this one longest", 1.0) from None
            raise Refused(408, f"the message did not come within {seconds:g} s") from None
