"""Plain requests are read, and answered, as h11 does it; whatever could be read in two ways is left to h11."""

from __future__ import annotations

import random

import h11
import pytest

from service.front.plain import Headers, Request, header_lines, plain_request
from service.front.wire import MORE, Wire
from tests.service.front.site import HOST, get, head_of_post, post

MOST = 1 << 15
SEEDS = (
    get("/livez"),
    get("/v1/models?x=%20", "Accept: */*", "User-Agent: curl/8.5.0 (x; y)", "Connection: keep-alive"),
    post("/v1/classify?top_k=3", b"\xff\xd8" * 10, "Content-Type: image/jpeg", "X-A:  two words \t"),
    head_of_post("/a", 0, "A:", "B: ", "!#$%&'*+-.^_`|~: 1"),
)
TOKENS = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\x80", b"\x7f", b"a", b"5", b"+",
    b"Host: b\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"\r\n\r\n", b"HTTP/1.0",
)  # fmt: skip


def h11_reads(data: bytes) -> tuple[Request, bytes] | None:
    """What h11 makes of the first request of `data`, and its body as far as it came; None where it refuses it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST)
    connection.receive_data(data)
    try:
        event = connection.next_event()
        if not isinstance(event, h11.Request):
            return None
        body = b""
        while isinstance(part := connection.next_event(), h11.Data):
            body += bytes(part.data)
    except h11.RemoteProtocolError:
        return None
    return Request(event.method, event.target, list(event.headers), event.http_version), body


def test_what_is_plain_is_read_as_h11_reads_it() -> None:
    rng = random.Random(0)
    plain_ones = 0
    for _ in range(6000):
        data = bytearray(rng.choice(SEEDS))
        for _ in range(rng.randrange(3)):
            at = rng.randrange(len(data) + 1)
            data[at : at + rng.choice((0, 0, 1, 4))] = rng.choice(TOKENS)
        plain = plain_request(bytes(data), MOST)
        if plain is None:
            continue
        plain_ones += 1
        body = bytes(data[plain.size : plain.size + plain.body])
        assert h11_reads(bytes(data)) == (plain.request, body), bytes(data)
    assert plain_ones > 1000


@pytest.mark.parametrize(
    "data",
    [
        get("/livez")[:-1],
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n" + HOST * 2 + b"\r\n",
        b"GET /livez HTTP/1.0\r\n" + HOST + b"\r\n",
        b"GET http://a/ HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT /a HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /livez HTTP/1.1\n" + HOST + b"\n\n",
        get("/", "A: one\r\n two"),
        get("/", "A: \xe9"),
        get("/", "A : 1"),
        get("/", "Connection: close"),
        get("/", "Connection: keep-alive, x"),
        get("/", "Transfer-Encoding: chunked", method="POST"),
        get("/", "Expect: 100-continue"),
        get("/", "Upgrade: h2c"),
        head_of_post("/", 5, "Content-Length: 5"),
        get("/", "Content-Length: +5"),
        get("/", "Content-Length: 5, 5"),
        get("/", "Content-Length:"),
        get("/", "A: " + "x" * MOST),
    ],
    ids=lambda data: repr(data[:70]),
)
def test_what_is_not_plain(data: bytes) -> None:
    assert plain_request(data, MOST) is None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [200, 204, 304, 404])
@pytest.mark.parametrize("parts", [[], [b"abc"], [b"abc", b"", b"d" * 300]])
@pytest.mark.parametrize("measured", [True, False])
def test_answers_are_written_as_h11_writes_them(
    method: str, status: int, parts: list[bytes], measured: bool
) -> None:
    if method == "HEAD" or status in (204, 304):
        parts = []
    headers: Headers = [(b"content-type", b"text/plain"), (b"vary", b"")]
    if measured:
        headers.append((b"content-length", b"%d" % sum(map(len, parts))))
    wire, other = Wire(MOST), h11.Connection(h11.SERVER)
    wire.receive(get("/", method=method))
    other.receive_data(get("/", method=method))
    assert isinstance(wire.request(), Request)
    assert wire.data() is None
    other.next_event()
    ours = wire.begin(status, headers) + b"".join(map(wire.go_on_with, parts)) + wire.finish()
    reason = ours.split(b"\r\n")[0].split(b" ", 2)[2]
    theirs = other.send(h11.Response(status_code=status, headers=headers, reason=reason)) or b""
    theirs += b"".join(other.send(h11.Data(data=part)) or b"" for part in parts)
    theirs += other.send(h11.EndOfMessage()) or b""
    assert ours.lower() == theirs.lower()
    assert wire.done


@pytest.mark.parametrize(
    "header",
    [(b"a", b"b\r\nc: d"), (b"a", b"b\n"), (b"a", b"\0"), (b"a b", b"c"), (b"", b"c"), (b"a:", b"\r")],
)
def test_header_that_would_be_two_is_none(header: tuple[bytes, bytes]) -> None:
    assert header_lines([header]) is None
    wire = Wire(MOST)
    wire.receive(get("/"))
    wire.request()
    with pytest.raises(h11.LocalProtocolError, match="a header that is none"):
        wire.begin(200, [header, (b"content-length", b"0")])


def test_body_that_is_not_as_long_as_its_header_says_is_an_error() -> None:
    for parts, match in (([b"abcd"], "longer"), ([b"ab"], "shorter")):
        wire = Wire(MOST)
        wire.receive(get("/"))
        wire.request()
        wire.begin(200, [(b"content-length", b"3")])
        with pytest.raises(h11.LocalProtocolError, match=match):
            wire.finish() if wire.go_on_with(parts[0]) else None


@pytest.mark.parametrize("value", [b"close", b"Close", b"x, close", b"keep-alive"])
def test_after_an_answer_that_says_close_none_follows(value: bytes) -> None:
    wire, other = Wire(MOST), h11.Connection(h11.SERVER)
    wire.receive(get("/"))
    other.receive_data(get("/"))
    assert isinstance(wire.request(), Request)
    assert wire.data() is None
    assert isinstance(other.next_event(), h11.Request)
    assert isinstance(other.next_event(), h11.EndOfMessage)
    headers: Headers = [(b"content-length", b"0"), (b"connection", value)]
    wire.begin(200, headers)
    wire.finish()
    other.send(h11.Response(status_code=200, headers=headers))
    other.send(h11.EndOfMessage())
    assert wire.done == (other.our_state is h11.DONE) == (value == b"keep-alive")


def test_requests_that_come_together_are_taken_one_after_the_other() -> None:
    kinds = (get("/a"), post("/b", b"12345"), get("/c", "A: one\r\n two"), get("/d"), post("/e", b"xyz"))
    wire = Wire(MOST)
    wire.receive(b"".join(kinds))
    targets, bodies = [], []
    for _ in kinds:
        request = wire.request()
        assert isinstance(request, Request)
        targets.append(request.target)
        body = b""
        while (part := wire.data()) is not None:
            assert part != MORE
            body += part[0]
        bodies.append(body)
        wire.begin(200, [(b"content-length", b"0")])
        wire.finish()
        assert wire.done
        wire.next()
    assert targets == [b"/a", b"/b", b"/c", b"/d", b"/e"]
    assert bodies == [b"", b"12345", b"", b"", b"xyz"]
    assert wire.request() == MORE
    wire.receive(b"")
    assert wire.request() is None


def test_body_that_ends_too_soon_is_told() -> None:
    wire = Wire(MOST)
    wire.receive(head_of_post("/", 5) + b"abc")
    wire.request()
    assert wire.data() == (b"abc", False)
    assert wire.data() == MORE
    wire.receive(b"")
    with pytest.raises(h11.RemoteProtocolError, match="2 bytes before its length"):
        wire.data()
    assert wire.answerable
