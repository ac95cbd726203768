"""Other sockets than plain ones over IPv4."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.front.sockets import Listener
from tests.service.front.site import PATIENCE_S, Client, Site, get, post

Serving = Callable[..., Site]


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def encrypted(site: Site, certificate: tuple[Path, Path]) -> Client:
    context = ssl.create_default_context(cafile=certificate[0])
    return Client(context.wrap_socket(site.raw(), server_hostname="127.0.0.1"))


def test_tls(serving: Serving, tls: ssl.SSLContext, certificate: tuple[Path, Path]) -> None:
    site = serving(tls)
    assert site.server.url.startswith("https://127.0.0.1:")
    with encrypted(site, certificate) as client:
        reply = client.ask(post("/echo", b"x" * 500_000))
        assert reply.json()["bytes"] == 500_000
        assert reply.json()["environ"]["wsgi.url_scheme"] == "https"
        assert client.ask(get("/stream", "Connection: close")).body == b"abc"


def test_plain_bytes_on_a_tls_port(
    serving: Serving, tls: ssl.SSLContext, certificate: tuple[Path, Path]
) -> None:
    site = serving(tls)
    with site.client() as client:
        client.send(get("/livez"))
        assert b"HTTP/1.1 200" not in client.rest()
    with encrypted(site, certificate) as client:
        assert client.ask(get("/livez")).status == 200


def test_handshake_has_an_end(serving: Serving, tls: ssl.SSLContext) -> None:
    with serving(tls, header_s=0.1).client() as client:
        assert client.rest() == b""


def test_a_client_that_leaves_as_the_handshake_ends(
    serving: Serving, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def left(loop: object, transport: asyncio.Transport, *_: object, **__: object) -> None:
        """As asyncio's own, which gives the transport that is used from then on: none is left."""
        transport.abort()

    monkeypatch.setattr(asyncio.BaseEventLoop, "start_tls", left)
    site = serving(tls)
    with site.client() as client:
        assert client.rest() == b""
    site.end()
    gc.collect()  # tasks whose failure nobody has looked at tell of it then
    assert caplog.messages == []


def test_unfinished_handshakes_make_room(
    serving: Serving, tls: ssl.SSLContext, certificate: tuple[Path, Path]
) -> None:
    site = serving(tls, connections=2, header_s=60.0)
    with site.client() as first, site.client(), encrypted(site, certificate) as client:
        assert client.ask(get("/livez")).status == 200
        assert first.rest() == b""


def test_application_hears_that_an_encrypted_client_left(
    serving: Serving, tls: ssl.SSLContext, certificate: tuple[Path, Path]
) -> None:
    site = serving(tls)
    with encrypted(site, certificate) as client:
        client.send(post("/gone", b"x"))
        assert site.app.entered.wait(120)
    assert site.app.left.wait(120)


def test_clients_that_wait_to_be_accepted_are_served_when_the_socket_closes() -> None:
    served: list[asyncio.StreamWriter] = []

    class Nobody:
        def client_left(self) -> None:
            pass

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Nobody:
        served.append(writer)
        return Nobody()

    async def close_at_once() -> None:
        await Listener(listening, connected).close()
        for writer in served:
            writer.close()
            await writer.wait_closed()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        with socket.create_connection(address), socket.create_connection(address):
            asyncio.run(close_at_once())
    assert len(served) == 2


def test_listener_that_cannot_accept_says_so_and_tries_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Poor(socket.socket):
        tries = 0

        def accept(self) -> tuple[socket.socket, Any]:
            self.tries += 1
            if self.tries == 1:
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    async def serve_one() -> None:
        done = asyncio.Event()

        class Somebody:
            def client_left(self) -> None:
                pass

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Somebody:
            writer.close()
            done.set()
            return Somebody()

        listener = Listener(listening, connected)
        await asyncio.wait_for(done.wait(), PATIENCE_S)
        await listener.close()

    with Poor() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with socket.create_connection(listening.getsockname()):
            asyncio.run(serve_one())
    assert "no client can be accepted now: [Errno 24] Too many open files" in caplog.text


def test_ipv6(serving: Serving) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as exc:
        pytest.skip(f"this machine has no IPv6 loopback: {exc}")
    site = serving(host="::1")
    assert site.server.url == f"http://[::1]:{site.server.port}"
    assert site.ask(get("/livez")).json()["environ"]["REMOTE_ADDR"] == "::1"
