"""Who is worked for: refused before a thread is taken when all are busy, and let go when the client leaves."""

from __future__ import annotations

import logging
import socket
import threading
from asyncio.selector_events import _SelectorSocketTransport
from collections.abc import Callable

import pytest

from service.front.gate import Lane
from tests.service.front.site import PATIENCE_S, Site, get, head_of_post, post

Serving = Callable[..., Site]


def test_answer_of_a_full_server_does_not_wait_for_the_body(serving: Serving) -> None:
    site = serving(workers=1)
    with site.client() as working, site.client() as refused:
        working.send(post("/wait", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        reply = refused.ask(head_of_post("/wait", 60_000))  # without the body: no thread, no wait
        assert (reply.status, reply.headers["retry-after"]) == (429, "3")
        assert "connection" not in reply.headers
        refused.send(b"x" * 60_000)
        assert refused.ask(get("/livez")).status == 200  # the connection is as good as before
        assert refused.ask(get("/list")).status == 200  # and a helper's request needs no worker
        site.app.gate.set()
        assert working.reply().status == 200


def test_the_time_to_come_again_is_as_long_as_those_before_will_take() -> None:
    lane = Lane("work", 64, None)
    assert lane.seconds_to_empty == 0
    lane.running = 10
    lane.answered(seconds=4.0, among=8)
    assert lane.seconds_to_empty == pytest.approx(5.0)
    lane.answered(seconds=8.0, among=8)
    assert 5.0 < lane.seconds_to_empty < 10.0


def test_full_server_reads_no_large_body_away(serving: Serving) -> None:
    site = serving(workers=1)
    with site.client() as working, site.client() as refused:
        working.send(post("/wait", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        reply = refused.ask(head_of_post("/wait", 2 << 20))
        assert (reply.status, reply.headers["connection"]) == (429, "close")
        refused.socket.shutdown(socket.SHUT_WR)
        assert refused.rest() == b""


def test_full_server_does_not_ask_for_the_body(serving: Serving) -> None:
    site = serving(workers=1)
    with site.client() as working, site.client() as refused:
        working.send(post("/wait", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        reply = refused.ask(head_of_post("/wait", 10, "Expect: 100-continue"))
        # Whether the body comes now, nobody knows.
        assert (reply.status, reply.headers["connection"]) == (429, "close")
        refused.socket.shutdown(socket.SHUT_WR)
        assert refused.rest() == b""


def test_server_that_became_full_while_a_body_came(serving: Serving) -> None:
    site = serving(workers=1)
    head = head_of_post("/wait", 1, "Expect: 100-continue")
    with site.client() as first, site.client() as second:
        assert first.ask(head, body=False).status == second.ask(head, body=False).status == 100
        first.send(b"x")
        assert site.app.entered.wait(PATIENCE_S)
        assert second.ask(b"x").status == 429
        assert second.ask(get("/livez")).status == 200
        site.app.gate.set()
        assert first.reply().status == 200


def test_many_requests_at_once_are_answered_or_refused(serving: Serving) -> None:
    site = serving(workers=2)
    replies: list[int] = []

    def ask() -> None:
        replies.append(site.ask(post("/wait", b"x" * 10_000)).status)
        if replies.count(429) == 14:
            site.app.gate.set()

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(replies) == [200] * 2 + [429] * 14


# Refused at once: without the task of the connection


def test_whole_requests_of_a_full_server_are_refused_at_once(
    serving: Serving, at_once: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "graft.access")
    site = serving(workers=1)
    with site.client() as working, site.client() as refused:
        working.send(post("/wait", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        at_once.clear()
        for number in range(3):
            reply = refused.ask(post("/wait", b"x" * 100, f"X-Request-Id: mine-{number}"))
            assert (reply.status, reply.headers["retry-after"]) == (429, "3")
            assert reply.headers["x-request-id"] == f"mine-{number}"
            assert "connection" not in reply.headers
            assert reply.json()["path"] == "/wait"
        assert refused.ask(get("/livez")).status == 200
        assert at_once == [True, True, True, False]
        site.app.gate.set()
        assert working.reply().status == 200
        assert refused.ask(post("/echo", b"abc")).json()["bytes"] == 3
    lines = [record for record in caplog.records if getattr(record, "status", 0) == 429]
    assert [record.request_id for record in lines] == ["mine-0", "mine-1", "mine-2"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "pieces",
    [
        [post("/wait", b"x" * 100)[:30], post("/wait", b"x" * 100)[30:]],
        [post("/wait", b"x" * 100)[:-30], b"x" * 30],
        [post("/wait", b"x") + post("/wait", b"yz")],
        [post("/wait", b"x", "Host: another")],
        [post("/wait", b"x", "Connection: close")],
        [b"POST /wait HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    ],
    ids=["in the header", "in the body", "two", "two hosts", "the last one", "chunks"],
)
def test_what_is_less_plain_is_read_in_its_turn(
    serving: Serving, at_once: list[bool], pieces: list[bytes]
) -> None:
    site = serving(workers=1)
    with site.client() as working, site.client() as refused:
        working.send(post("/wait", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        at_once.clear()
        for i, piece in enumerate(pieces):
            refused.send(piece)
            while len(at_once) <= i:  # until it has come
                assert site.ask(get("/livez")).status == 200
        expected = 400 if b"another" in pieces[0] else 429
        assert refused.reply().status == expected
        if len(pieces) == 1 and pieces[0].count(b"POST") == 2:
            assert refused.reply().status == expected
    assert True not in at_once


def test_client_that_has_refusals_to_read_is_refused_in_its_turn(
    serving: Serving, at_once: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the turn waits until it has read them."""
    site = serving(workers=1)
    with site.client() as working, site.client() as refused:
        working.send(post("/wait", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        at_once.clear()
        monkeypatch.setattr(_SelectorSocketTransport, "get_write_buffer_size", lambda transport: 1)
        assert refused.ask(post("/wait", b"x")).status == 429
        monkeypatch.undo()
    assert at_once == [False]


# Clients that leave


def test_application_hears_that_the_client_left(site: Site) -> None:
    with site.client() as client:
        client.send(post("/gone", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        assert not site.app.left.is_set()
    assert site.app.left.wait(PATIENCE_S)
    assert site.healthy()


def test_stream_ends_when_the_client_leaves(site: Site) -> None:
    with site.client() as client:
        client.send(get("/endless"))
        assert client.socket.recv(1000)
    assert site.app.closed.wait(PATIENCE_S)


def test_request_of_a_client_that_left_before_is_begun_as_such(site: Site) -> None:
    with site.client() as client:
        client.send(post("/gone", b"x") + post("/echo", b"x"))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.reply().status == 200
        assert client.reply().json()["gone"]
        assert client.rest() == b""
    assert not site.ask(post("/echo", b"x")).json()["gone"]
