"""One client's connection: requests are read within their bounds, admitted or refused, answered one after the other."""

from __future__ import annotations

import asyncio
import http.client
import re
import secrets
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

import h11

from service.front.limits import whole_seconds
from service.front.wsgi import Answer, Call, ClientGone, Headers, call_application

if TYPE_CHECKING:
    from service.front.server import Server

_READ = 1 << 16
_DRAINED = 1 << 20  # bytes of a refused body that are read away, so that the connection can go on
_LINGER_S = 1.0  # that a refused client has to read why, while it may still be sending
_TINY_CHUNKS = 4096  # so many chunks of a body, with fewer than _TINY bytes each, are an attack on the parser
_TINY = 64
_REQUEST_ID = re.compile(r"[\w.:+/=-]{1,128}", re.ASCII)


class Refusal(Exception):  # noqa: N818 (it is an answer, no fault)
    """A request that the front answers itself."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        self.status, self.message, self.retry_after = status, message, retry_after


class Connection:
    """Reads requests of one client and writes the answers. Runs in the loop."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server, self._reader, self._writer = server, reader, writer
        self._limits = server.limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=server.limits.header_bytes)
        self._gone: ClientGone | None = None  # of the request that is worked on
        self._held = 0
        self.waiting_since: float | None = time.monotonic()  # for a request; None while one is worked on
        self.began = False  # whether bytes of a request have come
        self.task: asyncio.Task[Any] | None = None

    async def serve(self) -> None:
        """Answer requests until the client or the server has had enough."""
        try:
            while await self._serve_one():
                self._http.start_next_cycle()
                self.waiting_since, self.began = time.monotonic(), False
        except (ConnectionError, TimeoutError, h11.LocalProtocolError, asyncio.IncompleteReadError):
            pass  # the client is gone, or does not read
        finally:
            self._writer.close()

    def client_left(self) -> None:
        """The client has closed its side: what is worked on for it may stop."""
        if self._gone is not None:
            self._gone.set()

    async def _serve_one(self) -> bool:
        """Answer one request. Returns whether another may follow."""
        started = time.monotonic()
        request: h11.Request | None = None
        try:
            request = await self._header()
            if request is None:
                return False
            started, self.waiting_since = time.monotonic(), None
            call, answer = await self._answer(request)
        except h11.RemoteProtocolError as exc:
            await self._refuse(
                request, Refusal(exc.error_status_hint, f"not HTTP as it is specified ({exc})")
            )
            return False
        except Refusal as refused:
            return await self._refuse(request, refused)
        finally:
            self._server.budget.give_back(self._held)
            self._held = 0
        await self._send(answer, call.method)
        self._server.log_access(call, answer.status, len(answer.body), time.monotonic() - started)
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    # Reading

    async def _header(self) -> h11.Request | None:
        """The next request, without its body; None where the client has no more."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._limits.idle_s) as deadline:
                while True:
                    event = self._http.next_event()
                    if isinstance(event, h11.Request):
                        return event
                    if isinstance(event, h11.ConnectionClosed):
                        return None
                    data = await self._reader.read(_READ)
                    if data and not self.began:
                        self.began = True
                        deadline.reschedule(loop.time() + self._limits.header_s)
                    elif not data and not self.began:
                        return None
                    self._http.receive_data(data)
        except TimeoutError:
            if not self.began:
                return None
            raise Refusal(
                408, f"the header of the request did not end within {self._limits.header_s:g} s"
            ) from None

    async def _body(self, request: h11.Request) -> bytes:
        """The body of a request, within its bounds."""
        limits, budget = self._limits, self._server.budget
        declared = _declared_length(request)
        if declared is not None and declared > limits.body_bytes:
            raise Refusal(413, _too_large(f"{declared:,} bytes", limits.body_bytes))
        if self._http.they_are_waiting_for_100_continue:
            await self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
        parts: list[bytes] = []
        received = chunks = 0
        async for data in self._body_parts(_Pace(limits.body_s, limits.body_rate)):
            received, chunks = received + len(data), chunks + 1
            if received > limits.body_bytes:
                raise Refusal(413, _too_large("more", limits.body_bytes))
            if chunks > _TINY_CHUNKS and received < chunks * _TINY:
                raise Refusal(400, f"{chunks:,} chunks hold {received:,} bytes. Send larger ones")
            if not budget.take(len(data)):
                raise Refusal(
                    503, f"bodies of other requests fill the {budget.size >> 20} MiB there are for them", 1.0
                )
            self._held += len(data)
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _body_parts(self, pace: _Pace) -> AsyncIterator[bytes]:
        """The parts of a body as they come.

        Raises:
            Refusal: they come too slowly.
        """
        events = 0
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                events += 1
                pace.received += len(event.data)
                yield bytes(event.data)
                if events % 64 == 0:  # thousands of tiny chunks may stand in what was read at once
                    await asyncio.sleep(0)
            elif event is h11.NEED_DATA:
                try:
                    async with asyncio.timeout(pace.seconds_left()):
                        data = await self._reader.read(_READ)
                except TimeoutError:
                    raise Refusal(
                        408,
                        f"{pace.received:,} bytes of the body came within {pace.elapsed():.0f} s, which is too slow",
                    ) from None
                self._http.receive_data(data)
            else:
                return

    # Answering

    async def _answer(self, request: h11.Request) -> tuple[Call, Answer]:
        """Admit the request, read its body, and have it worked on."""
        server = self._server
        _check(request)
        method, path = request.method.decode("ascii"), request.target.partition(b"?")[0].decode("ascii")
        lane = server.lane(method, path)
        if lane.full:
            raise server.overloaded(lane)
        body = await self._body(request)
        peer = self._writer.get_extra_info("peername") or ("", 0)
        call = Call(
            method,
            request.target.decode("ascii"),
            list(request.headers),
            body,
            request.http_version.decode("ascii"),
            (str(peer[0]), int(peer[1])) if len(peer) > 1 else ("", 0),
            (server.host, server.port),
            "https" if server.tls else "http",
            _request_id(list(request.headers)),
        )
        if lane.executor is None:
            return call, call_application(server.app, call)
        if lane.full:
            raise server.overloaded(lane)
        lane.running += 1
        try:
            return call, await self._work(call, lane.executor)
        finally:
            lane.running -= 1

    async def _work(self, call: Call, executor: Executor) -> Answer:
        """The application's answer, made in a thread that hears when the client leaves."""
        self._gone = call.gone
        try:
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(executor, call_application, self._server.app, call)
        finally:
            self._gone = None
        if call.gone:
            answer.close()
            raise ConnectionResetError
        return answer

    async def _send(self, answer: Answer, method: str) -> None:
        headers = [*answer.headers, *self._server.own_headers()]
        if self._server.draining:
            headers.append((b"connection", b"close"))
        head = self._http.send(_response(answer.status, headers))
        if answer.chunks is None:
            data = self._http.send(h11.Data(data=answer.body)) if answer.body and method != "HEAD" else b""
            await self._write((head or b"") + (data or b"") + (self._http.send(h11.EndOfMessage()) or b""))
            return
        loop = asyncio.get_running_loop()
        try:
            await self._write((head or b"") + (self._http.send(h11.Data(data=answer.body)) or b""))
            while (
                chunk := await loop.run_in_executor(self._server.streams, next, answer.chunks, None)
            ) is not None:
                await self._write(self._http.send(h11.Data(data=chunk)))
            await self._write(self._http.send(h11.EndOfMessage()))
        finally:
            answer.close()

    async def _write(self, data: bytes | None) -> None:
        if data:
            self._writer.write(data)
            async with asyncio.timeout(self._limits.send_s):
                await self._writer.drain()

    async def _refuse(self, request: h11.Request | None, refused: Refusal) -> bool:
        """Say why a request is not answered. Returns whether another may follow on the connection."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return False
        path = request.target.partition(b"?")[0].decode("latin-1") if request is not None else "/"
        goes_on = request is not None and refused.status not in (400, 408, 413) and await self._drained()
        body = self._server.refusal(path, refused)
        headers: Headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *self._server.own_headers(),
        ]
        if refused.retry_after is not None:
            headers.append((b"retry-after", whole_seconds(refused.retry_after).encode()))
        if not goes_on:
            headers.append((b"connection", b"close"))
        response = self._http.send(_response(refused.status, headers)) or b""
        if request is None or request.method != b"HEAD":
            response += self._http.send(h11.Data(data=body)) or b""
        await self._write(response + (self._http.send(h11.EndOfMessage()) or b""))
        self._server.log_refusal(request, refused)
        if not goes_on:
            await self._linger()
        return goes_on

    async def _drained(self) -> bool:
        """Whether the rest of a refused body was short enough to be read away."""
        if self._http.they_are_waiting_for_100_continue or self._http.their_state not in (
            h11.SEND_BODY,
            h11.DONE,
        ):
            return False
        count = 0
        try:
            async for data in self._body_parts(_Pace(_LINGER_S, 1 << 40)):
                count += len(data)
                if count > _DRAINED:
                    return False
        except (Refusal, h11.RemoteProtocolError):
            return False
        return self._http.their_state is h11.DONE

    async def _linger(self) -> None:
        """Read on for a moment: a socket closed with bytes unread is reset, and the client never reads the answer."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        try:
            async with asyncio.timeout(_LINGER_S):
                while await self._reader.read(_READ):
                    pass
        except TimeoutError:
            pass


class _Pace:
    """How long a body may still take: some seconds, and longer while it comes fast enough."""

    def __init__(self, seconds: float, rate: int) -> None:
        self._seconds, self._rate, self._began = seconds, rate, time.monotonic()
        self.received = 0

    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def seconds_left(self) -> float:
        return max(0.0, self._seconds + self.received / self._rate - self.elapsed())


def _check(request: h11.Request) -> None:
    """Refuse what two parsers could understand differently, and what asks for more than there is."""
    names = [name for name, _ in request.headers]
    if b"transfer-encoding" in names and b"content-length" in names:
        raise Refusal(400, "the request has Content-Length and Transfer-Encoding; expected one of them")
    if request.http_version < b"1.1" and b"transfer-encoding" in names:
        raise Refusal(400, "the request is HTTP/1.0 with Transfer-Encoding, which began with HTTP/1.1")
    if not request.target.startswith(b"/") and request.target != b"*":
        raise Refusal(400, "the target is no path; this is no proxy")
    for name, value in request.headers:
        if name == b"expect" and value.lower() != b"100-continue":
            raise Refusal(417, f"Expect: {value.decode('latin-1')}; expected 100-continue or nothing")


def _response(status: int, headers: Headers) -> h11.Response:
    return h11.Response(
        status_code=status, headers=headers, reason=http.client.responses.get(status, "").encode()
    )


def _declared_length(request: h11.Request) -> int | None:
    return next((int(value) for name, value in request.headers if name == b"content-length"), None)


def _request_id(headers: Headers) -> str:
    """The client's own id where it is one, else a new one."""
    given = next((value.decode("latin-1") for name, value in headers if name == b"x-request-id"), "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _too_large(given: str, most: int) -> str:
    return f"the body has {given}; at most {most:,} bytes are taken. Send fewer or smaller images"
