"""One client's connection: requests are admitted or refused, worked on and answered, one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import ssl
import time
from typing import Any, cast

import h11

from service.front.gate import Gate, Lane
from service.front.limits import whole_seconds
from service.front.plain import Headers, Request, plain_request
from service.front.requests import Refused, RequestReader, check, request_id
from service.front.sockets import StreamsThatTell
from service.front.wsgi import Answer, Call, ClientGone, call_application

_READ = 1 << 16
_NOTHING_NEW_S = 0.2  # from one question to a stream to the next
_LINGER_S = 1.0  # that a refused client has to read why, while it may still be sending
_CLIENT_LEFT = 499  # in the access log alone; nginx's number
_log = logging.getLogger("graft")


class Connection:
    """Reads requests of one client and writes the answers. Runs in the loop."""

    def __init__(self, gate: Gate, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._gate, self._reader, self._writer = gate, reader, writer
        self._requests = RequestReader(reader, gate.limits, gate.budget, gate.ration)
        self._wire = self._requests.wire
        self._protocol = cast(StreamsThatTell, writer.transport.get_protocol())
        self._gone: ClientGone | None = None  # of the request that is worked on
        self._left = False
        self._id = ""  # of the request
        self._sending: asyncio.Task[None] | None = None  # of an answer that was begun at once
        self.task: asyncio.Task[Any] | None = None
        self.since = time.monotonic()  # when this connection began to wait for a request
        self.requested = False  # whether the header of one has come, so that an answer is owed
        self.worked_on = False  # whether that one's answer is being made

    @property
    def idle(self) -> bool:
        """Whether nothing of a request has come."""
        return not self.requested and not self._requests.began

    async def serve(self) -> None:
        """Answer requests until the client or the server has had enough. Who runs this calls `abort` then."""
        try:
            if self._gate.tls is not None:
                await self._encrypt(self._gate.tls)
            while await self._serve_one():
                self.since, self.requested = time.monotonic(), False
                if self._requests.next():
                    await asyncio.sleep(0)  # many may have come at once; others have their turn
            self._writer.close()
            async with asyncio.timeout(self._gate.limits.send_s):
                await self._writer.wait_closed()
        except OSError:
            pass  # the client is gone, or does not read

    async def _encrypt(self, tls: ssl.SSLContext) -> None:
        """Shake hands; ConnectionResetError where the client has left."""
        plain = self._writer.transport
        try:
            await self._writer.start_tls(tls, ssl_handshake_timeout=self._gate.limits.header_s)
        except AttributeError:
            # asyncio has no transport any more for a client that left as the handshake ended, and stumbles over that;
            # so would whoever closes the writer.
            writer = vars(self._writer)
            if writer["_transport"] is not None:
                raise
            writer["_transport"] = plain
            raise ConnectionResetError from None

    def abort(self) -> None:
        """Close the socket, whatever is unsent."""
        self._requests.close()
        self._writer.transport.abort()

    def client_left(self) -> None:
        """The client has closed its side: what is worked on for it may stop, though it may still read an answer."""
        self._left = True
        if self._gone is not None:
            self._gone.set()

    # At once: requests that came whole, without the task of this connection, which goes on to wait for one

    def answers_at_once(self, data: bytes) -> bool:
        """Begin to work on a plain request that came whole, or refuse it; whatever is not so plain is read in its turn.

        Returns whether that was done. Who answers hundreds a second, and refuses thousands, has no time for more.
        """
        gate, requests, transport = self._gate, self._requests, self._writer.transport
        if not requests.waits:
            return False
        requests.waits = False  # for what follows this, if it is read in its turn
        if gate.draining or transport.is_closing() or transport.get_write_buffer_size():
            return False
        plain = plain_request(data, gate.limits.header_bytes)
        if plain is None or plain.size + plain.body != len(data):
            return False
        request = plain.request
        if not gate.welcome_at_once(request):
            return False
        lane = gate.lanes["work"]
        if lane.full:
            requests.pass_over(request)
            self._id = request_id(request)
            transport.write(self._refusal(request, gate.overloaded(lane), goes_on=True))
            self._wait_again()
            return True
        return gate.tls is None and self._begins_at_once(request, data[plain.size :], lane)

    def _begins_at_once(self, request: Request, body: bytes, lane: Lane) -> bool:
        """Have a thread begin with a request where its route works in steps, and there is room for its body."""
        size = len(body)
        self._id = request_id(request)
        call = self._call(request, request.method.decode("ascii"), body)
        steps = self._gate.direct(call)
        if steps is None or lane.threads is None or not self._gate.budget.take(size, 0):
            return False
        self._requests.pass_over(request)
        self._protocol.hold()
        self.requested = self.worked_on = True
        self._gone = call.gone
        if self._left:
            call.gone.set()
        lane.running += 1
        done = functools.partial(self._ends, request, call, lane, lane.running, size)
        lane.threads.begin_steps(steps, size, done)
        return True

    def _ends(
        self, request: Request, call: Call, lane: Lane, among: int, size: int, answer: Answer | Exception
    ) -> None:
        """Send the answer to a request that was begun at once."""
        gate, transport, seconds = self._gate, self._writer.transport, time.monotonic() - call.began
        lane.running -= 1
        lane.answered(seconds, among)
        gate.budget.give_back(size)
        self.worked_on, self._gone = False, None
        if isinstance(answer, Exception):
            data = self._refusal(request, self._failed(call, answer), goes_on=not gate.draining)
            if not transport.is_closing():
                transport.write(data)
        elif transport.is_closing():
            gate.log_access(call, _CLIENT_LEFT, 0, seconds)
        else:
            headers = self._headers(answer.headers, closes=gate.draining)
            try:
                data = self._wire.begin(answer.status, headers) + self._wire.go_on_with(answer.body)
                transport.write(data + self._wire.finish())
            except h11.LocalProtocolError as exc:
                self._note_no_http(exc)
                transport.abort()
                return
            gate.log_access(call, answer.status, len(answer.body), seconds)
        if not self._wire.done:
            self._reader.feed_eof()  # for the task, which closes the connection
        elif transport.get_write_buffer_size():
            self._sending = asyncio.get_running_loop().create_task(self._goes_on_when_sent())
        else:
            self._goes_on()

    async def _goes_on_when_sent(self) -> None:
        """Wait until the client has read an answer, as far as `_write` would; give it up where it does not."""
        try:
            async with asyncio.timeout(self._gate.limits.send_s):
                await self._writer.drain()
        except OSError:
            self._writer.transport.abort()
            return
        if self._gate.draining:
            self._reader.feed_eof()
        else:
            self._goes_on()

    def _goes_on(self) -> None:
        self._wait_again()
        self._protocol.let_go()

    def _wait_again(self) -> None:
        self._id, self.requested, self.since = "", False, time.monotonic()
        self._requests.wait_again()

    async def _serve_one(self) -> bool:
        """Answer one request. Returns whether another may follow."""
        request: Request | None = None
        self._id = ""
        try:
            request = await self._requests.header()
            if request is None:
                return False
            return await self._answer(request)
        except h11.RemoteProtocolError as exc:
            status, reason = exc.error_status_hint, str(exc)[:200]
            refused = Refused(status, f"not HTTP as it is specified ({reason})")
        except Refused as exc:
            refused = exc.with_traceback(None)  # which holds what was read of the body
        finally:
            self._gone = None
            self._requests.release()
        return await self._refuse(request, refused)

    async def _answer(self, request: Request) -> bool:
        """Admit the request, read its body, have it worked on, and send the answer."""
        gate, started = self._gate, time.monotonic()
        self.requested = True
        self._id = request_id(request)
        spool = gate.spool(request)
        check(request, gate.limits, spool.most if spool is not None else None)
        method, path = request.method.decode("ascii"), request.target.partition(b"?")[0].decode("ascii")
        lane = gate.lane(method, path)
        if lane.full:
            raise gate.overloaded(lane)
        if gate.unwelcome(method, path, request):
            return await self._turn_away(request, method, lane, started)
        if self._wire.expects_continue:
            await self._write(self._wire.go_on())
        if spool is None:
            call = self._call(request, method, await self._requests.body(request))
        else:
            call = self._call(request, method, b"")
            call.spooled = await self._requests.spooled(request, spool)
        self._gone = call.gone
        if self._left:
            call.gone.set()
        answer = await self._work(call, lane)
        if self._writer.transport.is_closing():
            answer.close()
            gate.log_access(call, _CLIENT_LEFT, 0, time.monotonic() - started)
            raise ConnectionResetError
        await self._send(answer, method)
        gate.log_access(call, answer.status, len(answer.body), time.monotonic() - started)
        return self._wire.done

    async def _turn_away(self, request: Request, method: str, lane: Lane, started: float) -> bool:
        """Let the application say no, without its body, which is not read: strangers are to hold no memory."""
        goes_on = not self._gate.draining and self._requests.skippable(request)
        call = self._call(request, method, b"")
        answer = await self._work(call, lane)
        await self._send(answer, method, closes=not goes_on)
        self._gate.log_access(call, answer.status, len(answer.body), time.monotonic() - started)
        if goes_on and await self._requests.skip():
            return True
        await self._linger()
        return False

    def _call(self, request: Request, method: str, body: bytes) -> Call:
        peer = self._writer.get_extra_info("peername") or ("", 0)
        return Call(
            method,
            request.target.decode("ascii"),
            list(request.headers),
            body,
            request.http_version.decode("ascii"),
            (str(peer[0]), int(peer[1])) if len(peer) > 1 else ("", 0),
            self._gate.address,
            self._gate.scheme,
            self._id,
        )

    async def _work(self, call: Call, lane: Lane) -> Answer:
        """The application's answer, made in a thread that hears when the client leaves."""
        app = self._gate.app
        if lane.full:
            raise self._gate.overloaded(lane)
        lane.running += 1
        among, began = lane.running, time.monotonic()
        self.worked_on = True
        try:
            if lane.threads is None:
                return call_application(app, call)
            steps = self._gate.direct(call)
            if steps is not None:
                return await lane.threads.future_of(steps, len(call.body))
            return await lane.threads.run(lambda: call_application(app, call))
        except Exception as exc:
            raise self._failed(call, exc) from None
        finally:
            self.worked_on = False
            lane.running -= 1
            lane.answered(time.monotonic() - began, among)

    def _failed(self, call: Call, error: Exception) -> Refused:
        """The refusal of a request that the application has failed at, once that is written down."""
        path, known = call.target.partition("?")[0][:200], {"request_id": self._id}
        _log.error("the application failed at %s (request %s)", path, self._id, exc_info=error, extra=known)
        return Refused(500, f"the server failed; its log says why, with the request id {self._id}")

    def _note_no_http(self, error: h11.LocalProtocolError) -> None:
        known = {"request_id": self._id}
        _log.error("the application's answer to request %s is no HTTP: %s", self._id, error, extra=known)

    # Writing

    async def _send(self, answer: Answer, method: str, *, closes: bool = False) -> None:
        headers = self._headers(answer.headers, closes=closes or self._gate.draining)
        try:
            data = self._wire.begin(answer.status, headers)
            if answer.body and method != "HEAD":
                data += self._wire.go_on_with(answer.body)
            if answer.stream is not None:
                await self._write(data)
                data = b""
                while (chunk := await self._gate.streams.run(answer.stream.pull)) is not None:
                    if chunk:
                        await self._write(self._wire.go_on_with(chunk))
                    else:  # there is nothing new: it waits without a thread
                        await asyncio.sleep(_NOTHING_NEW_S)
            await self._write(data + self._wire.finish())
        except h11.LocalProtocolError as exc:
            self._note_no_http(exc)
            raise ConnectionResetError from exc
        finally:
            if answer.stream is not None:
                # In a thread: the stream may just be at work.
                self._gate.streams.submit(answer.close)

    async def _write(self, data: bytes) -> None:
        if not data:
            return
        self._writer.write(data)
        transport = self._writer.transport
        if transport.get_write_buffer_size() == 0 and not transport.is_closing():
            return  # the socket has taken all of it
        async with asyncio.timeout(self._gate.limits.send_s):
            await self._writer.drain()

    async def _refuse(self, request: Request | None, refused: Refused) -> bool:
        """Say why a request is not answered. Returns whether another may follow on the connection."""
        if not self._wire.answerable:
            return False
        goes_on = (
            request is not None
            and refused.status not in (400, 408, 413, 431, 505)
            and not self._gate.draining
            and self._requests.skippable(request)
        )
        await self._write(self._refusal(request, refused, goes_on=goes_on))
        if goes_on and await self._requests.skip():
            return True
        await self._linger()
        return False

    def _refusal(self, request: Request | None, refused: Refused, *, goes_on: bool) -> bytes:
        """The answer that says why there is none, once it is written down."""
        refused.request_id = self._id = self._id or request_id(request)
        path = request.target.partition(b"?")[0].decode("latin-1") if request is not None else "/"
        body = self._gate.refusal(path, refused)
        headers: Headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            *self._gate.shared(request),
        ]
        if refused.retry_after is not None:
            headers.append((b"retry-after", whole_seconds(refused.retry_after).encode()))
        response = self._wire.begin(refused.status, self._headers(headers, closes=not goes_on))
        if request is None or request.method != b"HEAD":
            response += self._wire.go_on_with(body)
        response += self._wire.finish()
        client = self._writer.get_extra_info("peername") or ("",)
        self._gate.log_refusal(request, refused, str(client[0]), len(body), self._id)
        return response

    def _headers(self, headers: Headers, *, closes: bool) -> Headers:
        """Those of an answer, with what every answer carries."""
        own = [*self._gate.own_headers(), (b"x-request-id", self._id.encode("ascii"))]
        if closes:
            own.append((b"connection", b"close"))
        names = {name for name, _ in own}
        return [*(header for header in headers if header[0] not in names), *own]

    async def _linger(self) -> None:
        """Read on for a moment: a socket closed with bytes unread is reset, and the client never reads the answer."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while data := await self._reader.read(_READ):
                    await self._gate.ration.take(len(data))
