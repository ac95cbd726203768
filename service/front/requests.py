"""What a client sends: requests are read, each within its bounds, and refused where two parsers could differ."""

from __future__ import annotations

import asyncio
import errno
import io
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path

import h11

from models.errors import OutputError
from service.front.alarm import Alarm
from service.front.limits import ByteBudget, Limits, Pace
from service.front.plain import Request
from service.front.ration import Ration
from service.front.spooling import Spool, SpooledBody
from service.front.wire import MORE, Wire

_READ = 1 << 16
_SKIPPED = 1 << 20  # bytes of a refused body that are read away, so that the connection can go on
_SKIP_S = 1.0  # that this may take
_TINY_CHUNKS = 4096  # so many chunks of a body, with fewer than _TINY bytes each, are an attack on the parser
_TINY = 64
_REQUEST_ID = re.compile(r"[\w.:+/=-]{1,128}", re.ASCII)
_AUTHORITY = re.compile(rb"[\w.~%!$&'()*+,;=:\[\]-]*", re.ASCII)  # RFC 3986, without user information
# Of the system's own randomness each would cost a call; they have to differ, not to be secret.
_ids = random.Random()
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Refused(Exception):  # noqa: N818  (an answer, not a fault)
    """A request that the front answers itself."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        self.status, self.message, self.retry_after = status, message, retry_after
        self.request_id = ""  # of the request, once it is answered


class RequestReader:
    """The requests of one connection, one after the other."""

    def __init__(
        self, reader: asyncio.StreamReader, limits: Limits, budget: ByteBudget, ration: Ration
    ) -> None:
        self._reader, self._limits, self._budget, self._ration = reader, limits, budget, ration
        self._alarm = Alarm()
        self.wire = Wire(limits.header_bytes)
        self.began = False  # whether bytes of the next request have come
        self.waits = False  # whether `header` waits for the first of them, and nothing else goes on
        self._held = 0
        self._spooled: SpooledBody | None = None

    def next(self) -> bool:
        """Look at the next request. Returns whether some of it has come already."""
        self.wire.next()
        self.began = self.wire.buffered > 0
        return self.began

    async def header(self) -> Request | None:
        """The next request, without its body; None where the client has no more.

        Raises:
            Refused: it came too slowly.
            h11.RemoteProtocolError: no HTTP, or too long.
        """
        limits = self._limits
        room = limits.header_bytes + 1 - self.wire.buffered
        try:
            with self._alarm.within(limits.header_s if self.began else limits.idle_s) as alarm:
                while (request := self.wire.request()) == MORE:
                    self.waits = not self.began
                    data = await self._reader.read(max(1, room))
                    self.waits = False
                    if not data and not self.began:
                        return None
                    first, self.began = not self.began, True
                    room -= len(data)
                    self.wire.receive(data)
                    if first and (whole := self.wire.request()) != MORE:
                        return whole
                    if first:
                        alarm.within(limits.header_s)
                return request
        except TimeoutError:
            self.waits = False
            if not self.began:
                return None
            raise Refused(
                408, f"the header of the request did not end within {limits.header_s:g} s"
            ) from None

    def pass_over(self, request: Request) -> None:
        """A plain request came whole while `header` waited, and is answered without it, which goes on to wait."""
        self.wire.pass_over(request)
        self._alarm.rest()

    def wait_again(self) -> None:
        """It has its answer: `header` waits for the next one, for as long as it may from now on."""
        self.next()
        self._alarm.within(self._limits.idle_s)
        self.waits = True

    async def body(self, request: Request) -> bytes:
        """The body of a request. Its bytes are counted until `release`.

        Raises:
            Refused: it is too large, too slow or in too many pieces, or those of others leave no room for it.
            h11.RemoteProtocolError: it does not end as it should.
        """
        limits, budget = self._limits, self._budget
        content = io.BytesIO()  # gives its bytes away without a copy
        received = chunks = 0
        async for data, begins_chunk in self._parts(Pace(limits.body_s, limits.body_rate)):
            if received + len(data) > limits.body_bytes:
                raise Refused(413, _too_large("more", limits.body_bytes))
            if not budget.take(len(data), received):
                raise no_room(budget)
            self._held += len(data)
            received, chunks = received + len(data), chunks + begins_chunk
            if chunks > _TINY_CHUNKS and received < (chunks - 1) * _TINY:  # the last may not be whole
                raise Refused(400, f"{chunks:,} chunks hold {received:,} bytes. Send larger ones")
            content.write(data)
        return content.getvalue()

    async def spooled(self, request: Request, spool: Spool) -> Path:
        """The body of a request as a file, which is there until `release`.

        Raises:
            Refused: it is too large or too slow, or there is no room for it.
            h11.RemoteProtocolError: it does not end as it should.
        """
        self._spooled, received = SpooledBody(spool), 0
        try:
            async for data, _ in self._parts(Pace(self._limits.body_s, self._limits.body_rate)):
                received += len(data)
                if received > spool.most:
                    raise Refused(413, _too_large("more", spool.most))
                await self._spooled.write(data)
            await self._spooled.flush()
        except OutputError as exc:
            raise Refused(507, str(exc).rstrip(".")) from None
        except OSError as exc:
            if exc.errno != errno.ENOSPC:
                raise
            raise Refused(
                507, "the disk is full, and nothing of the body was kept. Free some space"
            ) from None
        return self._spooled.file

    def release(self) -> None:
        """The body is held no longer."""
        self._budget.give_back(self._held)
        self._held = 0
        if self._spooled is not None:
            self._spooled.close()
            self._spooled = None

    def close(self) -> None:
        """Read no more."""
        self._alarm.close()

    def skippable(self, request: Request) -> bool:
        """Whether the connection can go on after a refusal of the request, without its body being looked at."""
        if self.wire.whole:
            return True
        return (
            self.wire.in_body
            and not self.wire.expects_continue
            and (declared_length(request) or 0) <= _SKIPPED
        )

    async def skip(self) -> bool:
        """Read the rest of a refused body away. Returns whether it was short enough for that."""
        count = 0
        try:
            async for data, _ in self._parts(Pace(_SKIP_S, 1 << 40)):
                count += len(data)
                if count > _SKIPPED:
                    return False
        except (Refused, h11.RemoteProtocolError):
            return False
        return self.wire.whole

    async def _parts(self, pace: Pace) -> AsyncIterator[tuple[bytes, bool]]:
        parts = 0
        while (part := self.wire.data()) is not None:
            if part != MORE:
                parts += 1
                pace.add(len(part[0]))
                yield part
                # Thousands of tiny chunks may stand in what was read at once.
                if parts % 64 == 0:
                    await asyncio.sleep(0)
                continue
            try:
                async with asyncio.timeout(pace.seconds_left()):
                    data = await self._reader.read(_READ)
            except TimeoutError:
                raise Refused(408, f"the body came too slowly: {pace.received:,} bytes until now") from None
            await self._ration.take(len(data))
            self.wire.receive(data)


def check(request: Request, limits: Limits, most: int | None = None) -> None:
    """Refuse a header that two parsers could understand differently, or that asks for more than there is.

    `most`: bytes that its body may have, where that is not the limit of all.

    Raises:
        Refused: what is wrong with the header.
    """
    if request.http_version not in (b"1.0", b"1.1"):
        version = request.http_version.decode("ascii")
        raise Refused(505, f"the request is HTTP/{version}; expected HTTP/1.1 or HTTP/1.0")
    if len(request.headers) > limits.header_fields:
        count = len(request.headers)
        raise Refused(
            431, f"the request has {count:,} header fields; at most {limits.header_fields} are taken"
        )
    names = [name for name, _ in request.headers]
    if b"transfer-encoding" in names and b"content-length" in names:
        raise Refused(400, "the request has Content-Length and Transfer-Encoding; expected one of them")
    if request.http_version < b"1.1" and b"transfer-encoding" in names:
        raise Refused(400, "the request is HTTP/1.0 with Transfer-Encoding, which began with HTTP/1.1")
    # What tells requests apart, here and in proxies, compares methods as they are written (RFC 9110, 9.1).
    if request.method != request.method.upper():
        method = request.method.decode("ascii")[:20]
        raise Refused(400, f"the method is {method}; expected capitals: {method.upper()}")
    if request.method == b"CONNECT" or not (
        request.target.startswith(b"/") or (request.target == b"*" and request.method == b"OPTIONS")
    ):
        raise Refused(400, "the target is no path; this is no proxy")
    for name, value in request.headers:
        if _CONTROL.search(value):
            raise Refused(400, f"the header {name.decode('ascii')} has a control character")
        if name == b"host" and not _AUTHORITY.fullmatch(value):
            raise Refused(400, f"Host: {value.decode('latin-1')[:100]} is neither a name nor an address")
        if name == b"expect" and value.lower() != b"100-continue":
            raise Refused(417, f"Expect: {value.decode('latin-1')[:100]}; expected 100-continue or nothing")
    declared = declared_length(request)
    most = limits.body_bytes if most is None else most
    if declared is not None and declared > most:
        raise Refused(413, _too_large(f"{declared:,} bytes", most))


def no_room(budget: ByteBudget) -> Refused:
    """The refusal of a request whose body finds no place beside those of others."""
    return Refused(503, f"bodies of other requests fill the {budget.size >> 20} MiB there are for them", 1.0)


def declared_length(request: Request) -> int | None:
    """Bytes that the body has, as the header says; None where it does not."""
    return next((int(value) for name, value in request.headers if name == b"content-length"), None)


def request_id(request: Request | None) -> str:
    """The client's own id where it is one, else a new one."""
    headers = request.headers if request is not None else ()
    return own_id(next((value.decode("latin-1") for name, value in headers if name == b"x-request-id"), ""))


def own_id(given: str) -> str:
    """The id that a client gives its request, where it is one, else a new one."""
    return given if _REQUEST_ID.fullmatch(given) else f"{_ids.getrandbits(64):016x}"


def _too_large(given: str, most: int) -> str:
    return f"the body has {given}; at most {most:,} bytes are taken. Send fewer or smaller images"
