"""HTTP/1.1 of one connection, without its socket: plain requests are understood and answered at once, others by h11."""

from __future__ import annotations

import http.client
from typing import Literal

import h11

from service.front.plain import Headers, Request, header_lines, plain_request

Await = Literal["more"]  # bytes have to come before it can be told
MORE: Await = "more"
_REASONS = {status: reason.encode() for status, reason in http.client.responses.items()}
_BODILESS = (204, 304)


class Wire:
    """One request after the other, each with its answer. `receive` takes what came, in turn with what reads it."""

    def __init__(self, header_bytes: int) -> None:
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=header_bytes)
        self._header_bytes = header_bytes
        self._buffer = b""  # what h11 was not given
        self._ended = False  # no more will come
        self._plain: Request | None = None  # the request at hand, where it is one
        self._body_left = 0  # of it
        self._answer_left = 0  # bytes of its answer's body, where it has a length
        self._answering: Literal["not yet", "length", "chunks", "done"] = "not yet"
        self._closes = False  # whether that answer has said that none follows

    @property
    def buffered(self) -> int:
        """Bytes that came and were not read yet."""
        return len(self._buffer) or len(self._http.trailing_data[0])

    def receive(self, data: bytes) -> None:
        """Take what came from the client; nothing stands for its end.

        Raises:
            h11.RemoteProtocolError: it cannot be taken any more.
        """
        if self._plain is not None or self._fresh():
            self._buffer = self._buffer + data if self._buffer else data
            self._ended = self._ended or not data
        else:
            self._http.receive_data(data)

    def next(self) -> None:
        """Go on to the next request."""
        if self._plain is None:
            self._http.start_next_cycle()
        self._plain, self._answering, self._closes = None, "not yet", False

    # Requests

    def request(self) -> Request | Await | None:
        """The next request; None where the client has no more.

        Raises:
            h11.RemoteProtocolError: no HTTP, or too long.
        """
        if not self._buffer and not self._ended and self._fresh():
            return MORE
        if self._buffer:
            plain = plain_request(self._buffer, self._header_bytes)
            if plain is not None:
                self._buffer = self._buffer[plain.size :]
                self._plain, self._body_left = plain.request, plain.body
                return plain.request
        self._hand_over()
        event = self._http.next_event()
        if isinstance(event, h11.Request):
            return Request(event.method, event.target, list(event.headers), event.http_version)
        return None if isinstance(event, h11.ConnectionClosed) else MORE

    def pass_over(self, request: Request) -> None:
        """Take a plain request that came whole, where nothing else was received, but for its body."""
        self._plain, self._body_left = request, 0

    def data(self) -> tuple[bytes, bool] | Await | None:
        """The next bytes of the body, and whether a chunk begins with them; None at its end.

        Raises:
            h11.RemoteProtocolError: it does not end as it should.
        """
        if self._plain is None:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                return bytes(event.data), event.chunk_start
            return MORE if event is h11.NEED_DATA else None
        if not self._body_left:
            return None
        if not self._buffer:
            if self._ended:
                raise h11.RemoteProtocolError(f"the body ends {self._body_left} bytes before its length")
            return MORE
        data = self._buffer[: self._body_left]
        self._buffer = self._buffer[len(data) :]
        self._body_left -= len(data)
        return data, False

    @property
    def whole(self) -> bool:
        """Whether the body was read to its end."""
        return not self._body_left if self._plain is not None else self._http.their_state is h11.DONE

    @property
    def in_body(self) -> bool:
        """Whether some of the body is still to be read."""
        return bool(self._body_left) if self._plain is not None else self._http.their_state is h11.SEND_BODY

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for a word before it sends the body."""
        return self._plain is None and self._http.they_are_waiting_for_100_continue

    @property
    def answerable(self) -> bool:
        """Whether an answer may still be begun."""
        if self._plain is not None:
            return self._answering == "not yet"
        return self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE)

    @property
    def done(self) -> bool:
        """Whether request and answer are complete, and others may follow."""
        if self._plain is not None:
            return self._answering == "done" and not self._body_left and not self._closes
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    # Answers

    def go_on(self) -> bytes:
        """The word that the client waits for."""
        return self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b""

    def begin(self, status: int, headers: Headers) -> bytes:
        """The head of the answer.

        Raises:
            h11.LocalProtocolError: it would be none.
        """
        self._hand_over()
        reason = _REASONS.get(status, b"")
        if self._plain is None:
            return self._http.send(h11.Response(status_code=status, headers=headers, reason=reason)) or b""
        length = next((value for name, value in headers if name == b"content-length"), None)
        if length is None and status not in _BODILESS:
            headers = [*headers, (b"transfer-encoding", b"chunked")]
        if self._plain.method == b"HEAD" or status in _BODILESS:
            self._answering, self._answer_left = "length", 0
        elif length is None:
            self._answering = "chunks"
        else:
            self._answering, self._answer_left = "length", int(length)
        self._closes = any(name == b"connection" and b"close" in value.lower() for name, value in headers)
        lines = header_lines(headers)
        if lines is None or not 200 <= status <= 599:
            raise h11.LocalProtocolError(f"an answer {status} with a header that is none")
        return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, lines)

    def go_on_with(self, data: bytes) -> bytes:
        """Some of the answer's body.

        Raises:
            h11.LocalProtocolError: it is longer than its length.
        """
        if self._plain is None:
            return self._http.send(h11.Data(data=data)) or b""
        if self._answering == "chunks":
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        self._answer_left -= len(data)
        if self._answer_left < 0:
            raise h11.LocalProtocolError("the body of an answer is longer than its length")
        return data

    def finish(self) -> bytes:
        """The end of the answer.

        Raises:
            h11.LocalProtocolError: its body is shorter than its length.
        """
        if self._plain is None:
            return self._http.send(h11.EndOfMessage()) or b""
        chunks, self._answering = self._answering == "chunks", "done"
        if not chunks and self._answer_left:
            raise h11.LocalProtocolError("the body of an answer is shorter than its length")
        return b"0\r\n\r\n" if chunks else b""

    def _fresh(self) -> bool:
        """Whether h11 has nothing of the next request."""
        return self._http.their_state is h11.IDLE and self._http.trailing_data == (b"", False)

    def _hand_over(self) -> None:
        """Give h11 what came, where no plain request is at hand."""
        if self._plain is None and (self._buffer or self._ended):
            data, self._buffer = self._buffer, b""
            if data:
                self._http.receive_data(data)
            if self._ended:
                self._ended = False
                self._http.receive_data(b"")
