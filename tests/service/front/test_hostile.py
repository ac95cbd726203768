"""What is no request, or could be understood as two different ones; and random bytes."""

from __future__ import annotations

import random
import socket

import pytest

from tests.service.front.site import HOST, Site, get, head_of_post, post

POST = b"POST /echo HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400),
        (POST + b"Content-Length: -5\r\n\r\n", 400),
        (POST + b"Content-Length: +5\r\n\r\nhello", 400),
        (POST + b"Content-Length: 5_0\r\n\r\nhello", 400),
        (POST + b"Content-Length: 0x5\r\n\r\nhello", 400),
        (POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (POST + b"Content-Length : 5\r\n\r\nhello", 400),
        (POST + b" Content-Length: 5\r\n\r\nhello", 400),
        (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (CHUNKED + b"\r\nx\r\n", 400),
        (CHUNKED + b"\r\n-1\r\nx\r\n", 400),
        (CHUNKED + b"\r\n0x1\r\nx\r\n", 400),
        (CHUNKED + b"\r\n1\r\nxx\r\n0\r\n\r\n", 400),
        (CHUNKED + b"\r\n1;a\nb\r\nx\r\n0\r\n\r\n", 400),
        (CHUNKED + b"\r\n" + b"f" * 21 + b"\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: user@a\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n" + HOST + b"X: a\x1b[31mb\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n" + HOST + b"X y: a\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n" + HOST + b"\xff: a\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n" + HOST + b": a\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n" + HOST + b"no colon" * 1000 + b"\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n folded at once\r\n\r\n", 400),
        (b"GET /li\0vez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /li\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET  /livez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /livez HTTP/1.1 \r\n" + HOST + b"\r\n", 400),
        (b"get /livez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"Post /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", 400),
        (b"G\x01T /livez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET http://elsewhere/livez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"CONNECT elsewhere:443 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"CONNECT /livez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET livez HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /livez\r\n\r\n", 400),
        (b"GET /livez HTTP/1.2\r\n" + HOST + b"\r\n", 505),
        (b"GET /livez HTTP/11.1\r\n" + HOST + b"\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\r\nGET /livez HTTP/1.1\r\n\r\n", 400),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 400),
        (b"\0" * 1000, 400),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, bytes) else None,
)
def test_what_is_no_request_is_refused_and_closed(site: Site, data: bytes, status: int) -> None:
    with site.client() as client:
        client.send(data)
        client.socket.shutdown(socket.SHUT_WR)
        reply = client.reply()
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert len(reply.body) < 1000  # however long the line was that it speaks of
        assert client.rest() == b""
    assert site.healthy()


def test_bytes_behind_a_body_are_another_request(site: Site) -> None:
    with site.client() as client:
        client.send(head_of_post("/echo", 5) + b"hello" + b"GET /admin no HTTP\r\n\r\n")
        assert client.reply().json()["bytes"] == 5
        assert client.reply().status == 400


def test_bytes_behind_the_last_chunk_are_another_request(site: Site) -> None:
    with site.client() as client:
        client.send(CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n" + get("/livez"))
        assert client.reply().json()["bytes"] == 5
        assert client.reply().json()["environ"]["PATH_INFO"] == "/livez"


def test_upgrade_is_not_taken_up(site: Site) -> None:
    with site.client() as client:
        assert client.ask(get("/livez", "Connection: Upgrade", "Upgrade: h2c")).status == 200
        assert client.ask(get("/livez")).status == 200


def _mutated(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 8)):
        at, kind = rng.randrange(len(changed) + 1), rng.randrange(5)
        if kind == 0:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del changed[at : at + rng.randrange(1, 20)]
        elif kind == 2:
            changed[at:at] = rng.choice(
                [b"\r\n", b"\n", b"\0", b" ", b":", b"0\r\n\r\n", b"chunked", b"\xff" * 9]
            )
        elif kind == 3:
            changed[at:at] = changed[: rng.randrange(60)]
        else:
            changed[at:at] = rng.randbytes(rng.randrange(40))
    return bytes(changed)


def test_random_bytes_never_break_the_server(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(20)
    samples = [
        get("/livez", "X-Request-Id: a", "Accept: */*"),
        post("/echo", b"x" * 50, "Content-Type: image/png"),
        CHUNKED + b"\r\n5\r\nhello\r\n3;a=b\r\nxyz\r\n0\r\nT: u\r\n\r\n",
        head_of_post("/echo", 5, "Expect: 100-continue") + b"hello",
        get("/stream", method="HEAD"),
    ]
    statuses: set[bytes] = set()
    for _ in range(2000):
        data = _mutated(rng, rng.choice(samples)) if rng.random() < 0.9 else rng.randbytes(rng.randrange(300))
        with site.client() as client:
            client.send(data)
            client.socket.shutdown(socket.SHUT_WR)
            answer = client.rest()
        assert not answer or answer.startswith(b"HTTP/1.1 "), data
        statuses.add(answer[9:12])
    assert (
        {b"200", b"400"} <= statuses <= {b"", b"100", b"200", b"400", b"413", b"417", b"431", b"501", b"505"}
    )
    assert site.healthy()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
