"""Requests that come whole are worked on without the task of their connection, which waits for the next one."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable

import pytest

from tests.service.front.site import LARGE, PATIENCE_S, Site, get, head_of_post, post

Serving = Callable[..., Site]


def test_requests_are_answered_at_once_and_the_connection_goes_on(
    site: Site, at_once: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "graft.access")
    with site.client() as client:
        for number in range(3):
            reply = client.ask(post("/steps", b"x" * number, f"X-Request-Id: mine-{number}"))
            assert (reply.status, reply.json()) == (200, {"bytes": number, "gone": False})
            assert (reply.headers["x-request-id"], reply.headers["x-own"]) == (f"mine-{number}", "1")
            assert reply.headers["server"] == "graft"
            assert "connection" not in reply.headers
        assert at_once == [True] * 3
        assert client.ask(post("/echo", b"abc")).json()["bytes"] == 3
        assert client.ask(get("/livez")).status == 200
    assert [record.request_id for record in caplog.records[:3]] == ["mine-0", "mine-1", "mine-2"]  # type: ignore[attr-defined]
    assert site.server.gate.lanes["work"].running == 0


def test_body_that_comes_later_is_waited_for(site: Site, at_once: list[bool]) -> None:
    with site.client() as client:
        client.send(head_of_post("/steps", 2))
        while not at_once:
            assert site.ask(get("/livez")).status == 200
        assert client.ask(b"xy").json()["bytes"] == 2
        assert client.ask(post("/steps", b"xyz")).json()["bytes"] == 3
    assert at_once[0] is False
    assert at_once[-1] is True


def test_what_is_sent_meanwhile_has_its_turn(site: Site) -> None:
    """However much it is: then the socket is not read until the answer has gone."""
    with site.client() as client:
        client.send(post("/steps?wait", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        for size in (1, 200_000, 2):
            client.send(post("/steps", b"x" * size))
        assert site.healthy()
        site.app.gate.set()
        assert [client.reply().json()["bytes"] for _ in range(4)] == [1, 1, 200_000, 2]
        assert client.ask(post("/steps", b"xyz")).json()["bytes"] == 3


def test_client_that_sends_no_more_still_reads_its_answer(site: Site) -> None:
    with site.client() as client:
        client.send(post("/steps?wait", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        client.socket.shutdown(socket.SHUT_WR)
        assert site.app.left.wait(PATIENCE_S)
        site.app.gate.set()
        assert client.reply().json() == {"bytes": 1, "gone": True}
        assert client.rest() == b""


def test_client_that_sends_no_more_reads_all_its_answers(site: Site) -> None:
    with site.client() as client:
        client.send(post("/steps?wait", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        client.send(post("/steps?hold", b"xy"))
        client.socket.shutdown(socket.SHUT_WR)
        assert site.app.left.wait(PATIENCE_S)
        site.app.gate.set()
        assert client.reply().json()["bytes"] == 1
        assert site.healthy()
        site.app.closed.set()
        assert client.reply().json() == {"bytes": 2, "gone": True}
        assert client.rest() == b""


def test_client_that_leaves_frees_its_place(serving: Serving, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "graft.access")
    site = serving(workers=1)
    with site.client() as client:
        client.send(post("/steps?wait", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert site.app.left.wait(PATIENCE_S)
    assert site.ask(post("/steps", b"x")).status == 429  # its thread has not ended
    site.app.gate.set()
    while site.ask(post("/steps", b"x")).status == 429:
        pass
    assert site.healthy()
    assert 499 in [getattr(record, "status", 0) for record in caplog.records]


def test_server_that_stops_finishes_what_was_begun_at_once(serving: Serving) -> None:
    site = serving(drain_s=0.0)
    with site.client() as client, site.client() as idle:
        assert idle.ask(post("/steps", b"x")).status == 200
        client.send(post("/steps?wait", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        site.server.stop()
        assert idle.rest() == b""
        site.app.gate.set()
        reply = client.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert client.rest() == b""
    site.thread.join(PATIENCE_S)
    assert not site.thread.is_alive()


def test_client_that_does_not_read_is_given_up(serving: Serving) -> None:
    """After `send_s`, however long it may take with its next request."""
    site = serving(send_s=0.1, idle_s=10 * PATIENCE_S)
    with site.client() as client:
        assert client.ask(post("/steps", b"x")).status == 200
        (connection,) = site.server.connections
        client.send(post("/steps?large", b"x"))
        until = time.monotonic() + PATIENCE_S
        while connection in site.server.connections:
            assert time.monotonic() < until
            assert site.ask(get("/livez")).status == 200
    assert site.healthy()


def test_large_answer_is_read_to_its_end_and_the_connection_goes_on(site: Site) -> None:
    with site.client() as client:
        for _ in range(2):
            client.send(post("/steps?large", b"x"))
            client.send(post("/steps", b"xy"))
            assert len(client.reply().body) == LARGE
            assert client.reply().json()["bytes"] == 2


def test_server_that_stops_sends_a_large_answer_to_its_end(serving: Serving) -> None:
    """And waits for nothing else of that client."""
    site = serving(drain_s=0.0, stop_s=10 * PATIENCE_S)
    with site.client() as client, site.client() as idle:
        assert idle.ask(post("/steps", b"x")).status == 200
        client.send(post("/steps?large", b"x"))
        head = client.read(12)
        site.server.stop()
        assert idle.rest() == b""
        assert (head + client.rest()).endswith(b"\r\n\r\n" + bytes(LARGE))
    site.thread.join(PATIENCE_S)
    assert not site.thread.is_alive()


def test_failure_is_logged_where_the_client_has_left(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "graft.access")
    site = serving()
    with site.client() as client:
        client.send(post("/steps?wait&fail", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert site.app.left.wait(PATIENCE_S)
    site.app.gate.set()
    until = time.monotonic() + PATIENCE_S
    while 500 not in [getattr(record, "status", 0) for record in caplog.records]:
        assert time.monotonic() < until
        assert site.ask(get("/livez")).status == 200


def test_steps_that_fail_are_answered_500(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with site.client() as client:
        reply = client.ask(post("/steps?fail", b"x", "X-Request-Id: the-one"))
        assert reply.status == 500
        assert "the-one" in reply.json()["message"]
        assert client.ask(post("/steps", b"x")).status == 200
    assert "broken on purpose" in caplog.text


def test_answer_that_is_no_http_ends_the_connection(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with site.client() as client:
        client.send(post("/steps?odd", b"x"))
        assert client.rest() == b""
    assert "is no HTTP" in caplog.text
    assert site.healthy()


def test_body_without_room_is_refused(serving: Serving, at_once: list[bool]) -> None:
    site = serving(held_bytes=100)
    with site.client() as client:
        assert client.ask(post("/steps", b"x" * 200)).status == 503
    assert at_once == [False]


def test_time_between_requests_does_not_run_while_one_is_worked_on(serving: Serving) -> None:
    site = serving(idle_s=0.1)
    with site.client() as client:
        client.send(post("/steps?wait", b"x"))
        assert site.app.entered.wait(PATIENCE_S)
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            assert site.ask(get("/livez")).status == 200
        site.app.gate.set()
        assert client.reply().status == 200
        assert client.rest() == b""  # and runs again afterwards
