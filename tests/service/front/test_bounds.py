"""Each way to take more than one's share, and its bound."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable

import pytest

from service.front.limits import ByteBudget, Pace
from tests.service.front.site import PATIENCE_S, Client, Site, get, head_of_post, post

Serving = Callable[..., Site]
CHUNKED = get("/echo", "Transfer-Encoding: chunked", method="POST")


def trickle(client: Client, first: bytes, piece: bytes = b"a") -> None:
    """Send a little now and then until the server says something."""
    client.send(first)
    for _ in range(3000):
        if select.select([client.socket], [], [], 0.01)[0]:
            return
        client.send(piece)
    raise AssertionError("the server bears with it")


# Time


def test_header_has_an_end_though_bytes_come(serving: Serving) -> None:
    with serving(header_s=0.2).client() as client:
        trickle(client, b"GET / HTTP/1.1\r\nX: ")
        reply = client.reply()
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        assert "within 0.2 s" in reply.json()["message"]
        assert client.rest() == b""


def test_header_behind_another_request_has_an_end(serving: Serving) -> None:
    with serving(header_s=0.1, idle_s=PATIENCE_S * 2).client() as client:
        assert client.ask(get("/livez") + b"GET / HT").status == 200
        assert client.reply().status == 408


def test_silence_is_closed_without_a_word(serving: Serving) -> None:
    site = serving(idle_s=0.1)
    with site.client() as fresh, site.client() as used:
        assert used.ask(get("/livez")).status == 200
        assert fresh.rest() == used.rest() == b""


@pytest.mark.parametrize("head", [head_of_post("/echo", 60_000), CHUNKED + b"ffff\r\n"])
def test_body_has_an_end_though_bytes_come(serving: Serving, head: bytes) -> None:
    with serving(body_s=0.2).client() as client:
        trickle(client, head)
        assert client.reply().status == 408


def test_large_part_of_a_body_buys_no_time_to_stand_still(serving: Serving) -> None:
    with serving(body_s=0.1, body_rate=1).client() as client:
        client.send(head_of_post("/echo", 1 << 20) + b"x" * 500_000)
        assert client.reply().status == 408


def test_trailers_have_an_end_though_bytes_come(serving: Serving) -> None:
    with serving(body_s=0.2).client() as client:
        trickle(client, CHUNKED + b"1\r\nx\r\n0\r\nX: ")
        assert client.reply().status == 408


def test_client_that_does_not_read_is_given_up(serving: Serving) -> None:
    site = serving(send_s=0.1)
    with site.client() as client:
        client.send(get("/endless"))
        assert site.app.closed.wait(PATIENCE_S)
    assert site.healthy()


# Size


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"GET / HTTP/1.1\r\nX: ", b"a" * 1000),
        (b"GET / HTTP/1.1\r\n", b"X: " + b"a" * 1000 + b"\r\n"),
        (CHUNKED + b"1;", b"a" * 1000),
        (CHUNKED + b"1\r\nx\r\n0\r\n", b"X: " + b"a" * 1000 + b"\r\n"),
    ],
)
def test_what_has_no_end_is_refused(site: Site, first: bytes, piece: bytes) -> None:
    with site.client() as client:
        client.send(first + piece * 200)
        reply = client.reply()
        assert (reply.status, reply.headers["connection"]) == (431, "close")


def test_header_is_bounded_to_the_byte_however_it_comes(serving: Serving) -> None:
    site = serving(header_bytes=1000)
    whole = get("/livez", "X: " + "a" * (1000 - len(get("/livez", "X: "))))
    assert len(whole) == 1000
    assert site.ask(whole).status == 200
    assert site.ask(whole.replace(b"X: ", b"X: aa")).status == 431


def test_many_headers_are_refused(site: Site) -> None:
    fields = [f"x{i}: 1" for i in range(99)]  # and Host
    assert site.ask(get("/livez", *fields)).status == 200
    reply = site.ask(get("/livez", *fields, "y: 1"))
    assert reply.status == 431
    assert "101 header fields" in reply.json()["message"]


def test_tiny_chunks_are_refused(site: Site) -> None:
    with site.client() as client:
        client.send(CHUNKED + b"1\r\nx\r\n" * 5000)
        assert client.reply().status == 400
    with site.client() as client:  # but few of them are not, nor are many of a fair size
        assert client.ask(CHUNKED + b"1\r\nx\r\n" * 4000 + b"0\r\n\r\n").json()["bytes"] == 4000
        chunk = b"40\r\n" + b"x" * 64 + b"\r\n"
        assert client.ask(CHUNKED + chunk * 5000 + b"0\r\n\r\n").json()["bytes"] == 320_000


def test_large_body_is_refused_before_it_comes(serving: Serving) -> None:
    with serving(body_bytes=1000).client() as client:
        reply = client.ask(head_of_post("/echo", 1001))
        assert reply.status == 413
        assert "1,001 bytes; at most 1,000" in reply.json()["message"]
        assert client.rest() == b""


def test_body_of_unknown_length_is_refused_once_it_is_large(serving: Serving) -> None:
    with serving(body_bytes=1000).client() as client:
        assert client.ask(CHUNKED + b"ffff\r\n" + b"x" * 1001).status == 413


def test_refusal_is_read_though_the_client_goes_on_sending(serving: Serving) -> None:
    site = serving(body_bytes=1000)
    with site.client() as client:
        client.send(head_of_post("/echo", 1 << 20) + b"x" * (1 << 20))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.reply().status == 413
        assert client.rest() == b""  # and not that the connection was reset


# Over all connections


def test_bodies_of_all_requests_share_a_budget(serving: Serving) -> None:
    site = serving(held_bytes=4 << 20)
    with site.client() as holder, site.client() as other:
        holder.send(post("/wait", b"x" * (3 << 20)))
        assert site.app.entered.wait(PATIENCE_S)
        reply = other.ask(post("/echo", b"x" * (2 << 20)))
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert "4 MiB" in reply.json()["message"]
        # Large bodies leave room for small ones.
        assert site.ask(post("/echo", b"x" * 400_000)).status == 200
        site.app.gate.set()
        assert holder.reply().status == 200
        assert site.ask(post("/echo", b"x" * (2 << 20))).status == 200


def test_last_eighth_of_the_budget_is_for_small_bodies() -> None:
    budget = ByteBudget(80 << 20)
    assert budget.take(70 << 20, 0)
    assert not budget.take(1, 1 << 20)
    assert budget.take(1 << 20, 0)
    assert budget.take(9 << 20, -8 << 20)
    assert not budget.take(1, 0)
    budget.give_back(1)
    assert budget.take(1, 0)
    assert (budget.held, budget.peak) == (80 << 20, 80 << 20)


def test_pace_gives_back_time_for_what_comes_and_never_more_than_at_first() -> None:
    pace = Pace(100.0, 10)
    assert 90.0 < pace.seconds_left() <= 100.0
    pace.add(10**9)
    assert 90.0 < pace.seconds_left() <= 100.0
    slow = Pace(0.0, 10)
    slow.add(1000)
    assert slow.seconds_left() == 0.0
    assert (pace.received, slow.received) == (10**9, 1000)


@pytest.mark.parametrize(
    ("first", "answer"),
    [
        (b"", b""),
        (b"GET / HT", b""),
        (head_of_post("/echo", 9, "Expect: 100-continue"), b"HTTP/1.1 100 \r\n\r\n"),
    ],
    ids=["silent", "in a header", "in a body"],
)
def test_new_client_takes_the_place_of_the_one_that_waits_longest(
    serving: Serving, first: bytes, answer: bytes
) -> None:
    site = serving(connections=3)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(site.client()) for _ in range(3)]
        for client in held:
            client.send(first)
            assert client.read(len(answer)) == answer
        assert site.ask(get("/livez")).status == 200
        with contextlib.suppress(ConnectionResetError):  # where what it sent was not read yet
            assert held[0].rest() == b""
        for client in held[1:]:
            client.socket.setblocking(False)
            with pytest.raises(BlockingIOError, match="temporarily unavailable"):
                client.socket.recv(1)


def test_client_that_is_worked_for_keeps_its_place(serving: Serving) -> None:
    site = serving(connections=1)
    with site.client() as first:
        first.send(post("/wait", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        assert site.ask(get("/livez")).status == 200
        site.app.gate.set()
        assert first.reply().status == 200


def test_health_answers_beside_many_that_say_nothing(serving: Serving) -> None:
    site = serving(connections=20)
    silent = [site.raw() for _ in range(100)]
    try:
        assert site.healthy()
        # Those that had to make room are closed, in the order in which they came.
        for connection in silent[:80]:
            assert connection.recv(1) == b""
    finally:
        for connection in silent:
            connection.close()


def test_unfinished_body_of_a_client_that_leaves_is_given_back(serving: Serving) -> None:
    site = serving(held_bytes=4 << 20)
    for _ in range(4):
        with site.client() as client:
            client.send(head_of_post("/echo", 3 << 20) + b"x" * (2 << 20))
            client.socket.shutdown(socket.SHUT_WR)
            assert client.reply().status == 400
    assert site.ask(post("/echo", b"x" * (3 << 20))).status == 200
