"""Calls that go on: streams whose messages are requests of their own, and health that is watched."""

from __future__ import annotations

import asyncio
from typing import Any

from models.errors import GraftError
from service.front.requests import Refused
from service.grpc.calls import Answer, Call, Calls
from service.grpc.health import REQUEST, RESPONSE, Health
from service.grpc.messages import message_class, parsed
from service.grpc.method import Method

AHEAD = 8  # messages of one stream that are worked on while the answer to an earlier one is not there
_LOOK_S = 0.5  # from one look at the health to the next


class Streams:
    """Answers streams. Runs in the loop."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def requests(self, path: str, method: Method, _: Any, context: Any) -> None:
        """Answer each message of a stream, in their order; one that fails ends nothing, a withdrawn token does."""
        call = Call(path, context)
        try:
            lane = self._calls.admit(method, call)
        except (GraftError, Refused) as exc:
            await self._end(context, call, exc)
        answers: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue()
        room = asyncio.Semaphore(AHEAD)

        async def take() -> None:
            try:
                # Room first: a message that waits for it here would be counted nowhere.
                while await room.acquire() and (data := await self._calls.reading.next(context)) is not None:
                    self._calls.check(method, call)
                    work = self._calls.work(method, lane, Call(path, context), data)
                    answers.put_nowait(asyncio.create_task(work))
            finally:
                answers.put_nowait(None)

        reader = asyncio.create_task(take())
        waiting: asyncio.Task[Answer] | None = None
        try:
            while (waiting := await answers.get()) is not None:
                await context.write((await waiting).content)
                room.release()
            await reader
        except (GraftError, Refused) as exc:
            await self._end(context, call, exc)
        finally:
            reader.cancel()
            left = [waiting, *(answers.get_nowait() for _ in range(answers.qsize()))]
            for task in left:
                if task is not None:
                    task.cancel()

    async def watch(self, path: str, health: Health, _: Any, context: Any) -> None:
        """Tell the health of a service now, and whenever it is another."""
        call, last = Call(path, context), None
        try:
            data = await self._calls.reading.first(context)
            service = parsed(REQUEST, data).service
            while True:
                status = health.status(service)
                if status != last:
                    await context.write(message_class(RESPONSE)(status=status).SerializeToString())
                    last = status
                await self._calls.reading.idle(_LOOK_S)
        except (GraftError, Refused) as exc:
            await self._end(context, call, exc)

    async def _end(self, context: Any, call: Call, error: GraftError | Refused) -> None:
        """End a stream with the status of an error; raises what gRPC wants for that."""
        await self._calls.refuse(context, self._calls.turned_away(call, error), call)
