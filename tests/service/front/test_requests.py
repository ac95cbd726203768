"""What a well-behaved client may expect."""

from __future__ import annotations

import logging
import socket

import pytest

from tests.service.front.site import HOST, Site, get, head_of_post, post


def test_connection_is_kept(site: Site) -> None:
    with site.client() as client:
        for size in (3, 0, 100_000):
            reply = client.ask(post("/echo", b"x" * size))
            assert (reply.status, reply.json()["bytes"]) == (200, size)
            assert "connection" not in reply.headers


def test_client_that_asks_for_it_is_closed_upon(site: Site) -> None:
    with site.client() as client:
        assert client.ask(get("/livez", "Connection: close")).headers["connection"] == "close"
        assert client.rest() == b""


def test_requests_sent_together_are_answered_in_order(site: Site) -> None:
    with site.client() as client:
        client.send(b"".join(post("/echo", b"x" * i) + get(f"/list/{i}") for i in range(100)))
        for i in range(100):
            assert client.reply().json()["bytes"] == i
            assert client.reply().json()["environ"]["PATH_INFO"] == f"/list/{i}"


def test_head_has_the_length_and_no_body(site: Site) -> None:
    with site.client() as client:
        reply = client.ask(get("/livez", method="HEAD"), body=False)
        assert reply.status == 200
        assert int(reply.headers["content-length"]) > 0
        assert client.ask(get("/livez")).status == 200  # nothing stood in between


def test_head_of_a_stream_does_not_pull_it(site: Site) -> None:
    with site.client() as client:
        assert client.ask(get("/endless", method="HEAD"), body=False).status == 200
        assert client.ask(get("/livez")).status == 200
    assert site.app.closed.is_set()


def test_refusal_of_head_has_no_body(site: Site) -> None:
    with site.client() as client:
        reply = client.ask(get("/livez", "Expect: miracles", method="HEAD"), body=False)
        assert reply.status == 417
        assert client.ask(get("/livez")).status == 200


@pytest.mark.parametrize("target", ["/livez", "*"])
def test_options_reaches_the_application(site: Site, target: str) -> None:
    reply = site.ask(get(target, method="OPTIONS"))
    assert (reply.status, reply.json()["environ"]["REQUEST_METHOD"]) == (200, "OPTIONS")


def test_client_that_asks_before_it_sends_is_told_to_go_on(site: Site) -> None:
    with site.client() as client:
        assert client.ask(head_of_post("/echo", 5, "Expect: 100-Continue"), body=False).status == 100
        assert client.ask(b"hello").json()["bytes"] == 5


def test_client_that_asks_before_it_sends_is_told_not_to(site: Site) -> None:
    with site.client() as client:
        reply = client.ask(head_of_post("/echo", 10**12, "Expect: 100-continue"))
        assert reply.status == 413
        assert "1,000,000,000,000 bytes" in reply.json()["message"]
        assert client.rest() == b""


def test_expectation_that_nobody_knows_is_refused(site: Site) -> None:
    assert site.ask(get("/livez", "Expect: miracles")).status == 417


def test_chunked_body(site: Site) -> None:
    head = get("/echo", "Transfer-Encoding: chunked", method="POST")
    with site.client() as client:
        body = b"3;name=value\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
        assert client.ask(head + body).json()["bytes"] == 13
        assert client.ask(get("/livez")).status == 200


def test_stream_is_sent_in_chunks(site: Site) -> None:
    with site.client() as client:
        reply = client.ask(get("/stream"))
        assert (reply.headers["transfer-encoding"], reply.body) == ("chunked", b"abc")
        assert client.ask(get("/livez")).status == 200


def test_http_1_0_gets_the_stream_and_the_end(site: Site) -> None:
    with site.client() as client:
        client.send(b"GET /stream HTTP/1.0\r\n\r\n")
        head, _, body = client.rest().partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert body == b"abc"


def test_request_id_of_the_client_goes_in_and_out(site: Site) -> None:
    reply = site.ask(get("/livez", "X-Request-Id: abc-123"))
    assert (reply.headers["x-request-id"], reply.json()["id"]) == ("abc-123", "abc-123")


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "\xe9", '"'])
def test_what_is_no_request_id_is_replaced(site: Site, given: str) -> None:
    reply = site.ask(get("/livez", f"X-Request-Id: {given}"))
    assert reply.headers["x-request-id"] == reply.json()["id"] != given


def test_refusals_have_request_ids(site: Site) -> None:
    assert site.ask(get("/livez", "Expect: x", "X-Request-Id: mine")).headers["x-request-id"] == "mine"
    assert site.ask(b"no HTTP\r\n\r\n").headers["x-request-id"]


def test_environment(site: Site) -> None:
    environ = site.ask(
        get("/a%20b/%C3%A9?x=%20y", "A: 1", "A: 2", "Under_Score: no", "Content-Type: image/png")
    ).json()["environ"]
    assert environ["PATH_INFO"] == "/a b/\xc3\xa9"
    assert environ["QUERY_STRING"] == "x=%20y"
    assert environ["HTTP_A"] == "1,2"
    assert environ["CONTENT_TYPE"] == "image/png"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert "HTTP_UNDER_SCORE" not in environ


def test_client_that_sends_no_more_still_reads_its_answer(site: Site) -> None:
    with site.client() as client:
        client.send(post("/echo", b"x" * 70_000))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.reply().json()["bytes"] == 70_000
        assert client.rest() == b""


@pytest.mark.parametrize("path", ["/broken", "/silent"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_application_that_fails_is_a_500(
    site: Site, caplog: pytest.LogCaptureFixture, path: str, method: str
) -> None:
    with site.client() as client:
        reply = client.ask(get(path, "X-Request-Id: mine", method=method))
        assert reply.status == 500
        assert "mine" in reply.json()["message"]
        assert "on purpose" not in reply.json()["message"]
        assert client.ask(get("/livez")).status == 200
    assert f"the application failed at {path} (request mine)" in caplog.text


def test_application_that_lies_about_its_length_is_broken_off_and_logged(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with site.client() as client:
        client.send(get("/liar", "X-Request-Id: mine"))
        assert client.rest() == b""
    assert "the application's answer to request mine is no HTTP" in caplog.text
    assert site.healthy()


def test_access_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "graft.access"), site.client() as client:
        client.ask(get("/livez?secret=1", "X-Request-Id: first"))
        client.ask(get("/livez?secret=1", "X-Request-Id: second", "Expect: x"))
        client.ask(get("/livez"))  # the others are in the log by now
    first, second = caplog.records[:2]
    assert (first.getMessage(), second.getMessage()) == ("GET /livez 200", "GET /livez 417")
    assert [vars(record)["request_id"] for record in (first, second)] == ["first", "second"]
    assert [vars(record)["client"] for record in (first, second)] == ["127.0.0.1"] * 2
    assert vars(first)["bytes"] > 0
    assert "miracles" not in vars(first)
    assert "Expect" in vars(second)["reason"]


def test_lines_may_be_folded_as_long_ago(site: Site) -> None:
    reply = site.ask(b"GET /list HTTP/1.1\r\n" + HOST + b"A: one\r\n  two\r\n\r\n")
    assert reply.json()["environ"]["HTTP_A"] == "one two"
