"""The life of a call: let in or turned away as over HTTP, read, worked on by the front's threads, answered, logged."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import GeneratorType
from typing import Any
from urllib.parse import unquote

from models.errors import GraftError
from service.front.gate import Gate, Lane, log_request
from service.front.requests import Refused, no_room, own_id
from service.front.wsgi import REQUEST_ID
from service.grpc.messages import parsed
from service.grpc.method import Asked, Method
from service.grpc.reading import Reading
from service.grpc.status import Failure, Metadata, failure_of
from service.metrics import Metrics
from service.observing import Observer
from service.records import GRPC
from service.safety import Guard
from service.steps import Steps, finish

_CLIENT_LEFT = 499  # in the access log alone
_BROKEN_OFF = (
    "the call was broken off before its message was there: the client left, or the message is larger than"
)
_log = logging.getLogger("graft")


@dataclass(frozen=True)
class Answer:
    """What a worker gives back: the bytes of a message, or why there is none; and what the access log tells."""

    content: bytes = b""
    failure: Failure | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    trailers: Metadata = ()

    @property
    def status(self) -> int:
        """As HTTP would have it."""
        return 200 if self.failure is None else self.failure.status


class Calls:
    """Answers calls of methods. Runs in the loop of the front, but for what its workers do."""

    def __init__(self, gate: Gate, guard: Guard, observer: Observer, metrics: Metrics) -> None:
        self.reading = Reading(gate)
        self._gate, self._guard, self._observer, self._metrics = gate, guard, observer, metrics
        self._loop = asyncio.get_running_loop()

    # Handlers, as gRPC calls them

    async def one(self, path: str, method: Method, _: Any, context: Any) -> bytes:
        """Answer a call of one message."""
        call = Call(path, context)
        try:
            lane = self.admit(method, call)
            data = await self.reading.first(context)
        except (GraftError, Refused) as exc:
            answer = self.turned_away(call, exc)
        except asyncio.CancelledError:
            most = self._gate.limits.body_bytes
            self.turned_away(call, Refused(_CLIENT_LEFT, f"{_BROKEN_OFF} {most:,} bytes"))
            raise
        else:
            answer = await self.work(method, lane, call, data)
        context.set_trailing_metadata((*call.trailers, *answer.trailers))
        if answer.failure is not None:
            await self.refuse(context, answer, call)
        return answer.content

    async def refuse(self, context: Any, answer: Answer, call: Call) -> None:
        """End a call with the status of an answer that is none; raises what gRPC wants for that."""
        failure = answer.failure
        assert failure is not None
        await context.abort(failure.code, failure.message, (*call.trailers, *failure.trailers))

    async def unknown(self, path: str, _: Any, context: Any) -> None:
        """Answer a call of a method that there is not."""
        call = Call(path, context)
        error = Refused(501, f"there is no method {path[:200]!r} here")
        await self.refuse(context, self.turned_away(call, error, known=False), call)

    # What they do

    def admit(self, method: Method, call: Call) -> Lane:
        """Let a call in, before anything of its message is read.

        Raises:
            TokenError, AccessError: it may not.
            Refused: there is no place for it.
        """
        self.check(method, call)
        lane = self._gate.lanes[method.lane]
        if lane.full:
            raise self._gate.overloaded(lane)
        return lane

    def check(self, method: Method, call: Call) -> None:
        """Refuse a call that its token does not allow, as of now: tokens may be read again.

        Raises:
            TokenError, AccessError: it may not.
        """
        self._guard.check(method.scope, call.authorization)

    def turned_away(
        self, call: Call, error: GraftError | Refused, method: Method | None = None, *, known: bool = True
    ) -> Answer:
        """Write down that a call is not worked on, or a message of a stream of `method`, and say why."""
        failure = failure_of(error)
        if isinstance(error, Refused):
            self._metrics.refused(call.path if known else "", GRPC, failure.status)
            notes: Mapping[str, Any] = {"reason": failure.message}
        else:
            record = call.asked(self._observer).record
            record.status, record.error = failure.status, type(error).__name__
            notes = self._observer.finish(record)
            self._observer.count(record)
        content = _refusal(method, None, failure) if method is not None else b""
        answer = Answer(content, failure, notes)
        self._log_access(call, answer, failure.status)
        return answer

    async def work(self, method: Method, lane: Lane, call: Call, data: bytes) -> Answer:
        """The answer to a message, made by a thread that hears when the client leaves."""
        if lane.full:
            return self.turned_away(call, self._gate.overloaded(lane), method)
        if not self._gate.budget.take(len(data), 0):
            return self.turned_away(call, no_room(self._gate.budget), method)
        lane.running += 1
        asked, size = call.asked(self._observer), len(data)
        steps = answered(method, data, asked, self._observer)

        def done(work: asyncio.Future[Answer]) -> None:
            lane.running -= 1
            self._gate.budget.give_back(size)
            answer = work.result()
            self._log_access(call, answer, _CLIENT_LEFT if asked.gone else answer.status)

        if lane.threads is None:
            work: asyncio.Future[Answer] = self._loop.create_future()
            work.set_result(finish(steps))
        else:
            work = lane.threads.future_of(steps, size)
        work.add_done_callback(done)
        try:
            # Its thread goes on where nobody waits any more, and counts until it has ended.
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            asked.gone.set()
            raise

    def _log_access(self, call: Call, answer: Answer, status: int) -> None:
        log_request(
            GRPC,
            call.path,
            status,
            client=call.client,
            bytes=len(answer.content),
            seconds=time.monotonic() - call.began,
            request_id=call.request_id,
            **answer.notes,
        )


class Call:
    """A call as it came: its path, what its metadata say, and who calls."""

    def __init__(self, path: str, context: Any) -> None:
        self.path, self.began = path, time.monotonic()
        self.metadata = {
            name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)
        }
        self.request_id = own_id(self.metadata.get("x-request-id", ""))
        left = context.time_remaining()
        self.ends = math.inf if left is None else self.began + left
        self.client = unquote(context.peer().partition(":")[2].rpartition(":")[0]).strip("[]")
        self.trailers: Metadata = (("x-request-id", self.request_id),)

    @property
    def authorization(self) -> str | None:
        """The value of that name."""
        return self.metadata.get("authorization")

    def asked(self, observer: Observer) -> Asked:
        """A request of the call, which begins now."""
        environ = {
            "PATH_INFO": self.path,
            "REMOTE_ADDR": self.client,
            "HTTP_TRACEPARENT": self.metadata.get("traceparent", ""),
            "HTTP_TRACESTATE": self.metadata.get("tracestate", ""),
            REQUEST_ID: self.request_id,
        }
        record = observer.begin(GRPC, environ)
        record.route = self.path
        traceparent = observer.traceparent(record)
        if traceparent is not None:
            self.trailers = (*self.trailers, ("traceparent", traceparent))
        return Asked(record, self.request_id, self.ends)


def answered(method: Method, data: bytes, asked: Asked, observer: Observer) -> Steps[Answer]:
    """The answer of a method to the bytes of a message. For a worker's thread."""
    record, message = asked.record, None
    record.status, failure = 200, None
    try:
        message = parsed(method.message, data)
        answer = method.answer(message, asked)
        if isinstance(answer, GeneratorType):
            answer = yield from answer
        content = answer.SerializeToString()
    except GraftError as exc:
        error: GraftError | None = exc.with_traceback(None)  # which holds images
    except Exception as exc:
        _log.exception("%s failed", record.route, exc_info=exc, extra={"request_id": asked.request_id})
        error = GraftError("a fault in the service; its log has more.")
    else:
        error = None
    if error is not None:
        failure = failure_of(error)
        record.status, record.error = failure.status, type(error).__name__
        content = _refusal(method, message, failure)
    notes = observer.finish(record)
    observer.count(record)
    return Answer(content, failure, notes, tuple(asked.trailers))


def _refusal(method: Method, message: Any, failure: Failure) -> bytes:
    """The answer that a message has in a stream where there is none; nothing where its call has a status for that."""
    if method.refuse is None:
        return b""
    data: bytes = method.refuse(message, failure).SerializeToString()
    return data
