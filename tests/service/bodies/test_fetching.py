"""Images that are fetched: real servers of this machine stand behind names that a table resolves."""

from __future__ import annotations

import dataclasses
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from feature_extraction.addresses import Address
from feature_extraction.fetching import Fetcher, resolved
from models.errors import CancelledError, ImageError, InputError
from service.app import create_app
from service.bodies.images import RequestWatch
from service.bodies.memory import Memory, Share
from service.caller import Caller
from service.config import ServiceConfig
from service.front.wsgi import ClientGone
from service.registry import Registry
from tests.fixtures import reserved_port
from tests.service.running import new_certificate
from tests.web import IMAGE, Pages, Site, answering

MOST = 10_000


@pytest.fixture
def pages() -> Iterator[Pages]:
    made = Pages()
    yield made
    made.close()


def dripping(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then, for ever."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        handler.wfile.write(b"a")
        time.sleep(0.01)  # the server's pace, for which no test waits


def fetcher(
    pages: Pages, seconds: float = 30.0, tls: ssl.SSLContext | None = None, **more: list[str]
) -> Fetcher:
    """Fetches from `pictures.example` and `other.example` at this machine, which counts as public; others are not."""
    table = {"pictures.example": ["127.0.0.1"], "other.example": ["127.0.0.1"], **more}
    hosts = [f"{host}:{pages.port}" for host in ("*.example", "private.test")]
    return Fetcher(
        hosts,
        MOST,
        seconds,
        resolve=lambda host, port: table[host],
        may_connect=lambda address: address == ipaddress.ip_address("127.0.0.1"),
        tls=tls,
    )


def fetch(with_: Fetcher, url: str, caller: Caller | None = None, size: int = 1 << 20) -> bytes:
    return with_.fetch(
        url, "images[0]", RequestWatch(caller or Caller(time.monotonic() + 60), Share(Memory(size)))
    )


def at(pages: Pages, path: str = "/a.png", host: str = "pictures.example", scheme: str = "http") -> str:
    return f"{scheme}://{host}:{pages.port}{path}"


def test_bytes_come_from_the_address_under_the_name(pages: Pages) -> None:
    pages.paths["/a.png?size=1"] = answering()
    assert fetch(fetcher(pages), at(pages, "/a.png?size=1#part")) == IMAGE
    assert pages.hosts == [f"pictures.example:{pages.port}"]


def test_chunks(pages: Pages) -> None:
    def chunked(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    pages.paths["/a.png"] = chunked
    assert fetch(fetcher(pages), at(pages)) == b"abcde"


def test_a_name_is_resolved_once_for_a_connection(pages: Pages) -> None:
    """A name that points somewhere else a moment later: the connection goes where it was checked."""
    pages.paths["/a.png"] = answering()
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    changing = Fetcher(
        (f"pictures.example:{pages.port}",),
        MOST,
        30.0,
        resolve=lambda *_: next(answers),
        may_connect=lambda one: not one.is_link_local,
    )
    assert fetch(changing, at(pages)) == IMAGE
    with pytest.raises(ImageError, match=r"is at 169.254.169.254, which is no public address"):
        fetch(changing, at(pages))


def test_one_private_address_among_several_is_enough_to_refuse(pages: Pages) -> None:
    with pytest.raises(ImageError, match=r"is at 10.0.0.1, which is no public address"):
        fetch(fetcher(pages, **{"pictures.example": ["127.0.0.1", "10.0.0.1"]}), at(pages))
    assert pages.hosts == []


class TestRedirects:
    def test_are_followed_and_checked(self, pages: Pages) -> None:
        pages.paths["/old"] = answering(302, b"", Location="/a.png")
        pages.paths["/a.png"] = answering(301, b"", Location=at(pages, "/b.png", "other.example"))
        pages.paths["/b.png"] = answering()
        assert fetch(fetcher(pages), at(pages, "/old")) == IMAGE
        assert len(pages.hosts) == 3

    @pytest.mark.parametrize(
        ("location", "reason"),
        [
            ("http://private.test:{port}/", "is at 10.0.0.1, which is no public address"),
            ("http://elsewhere.org:{port}/", "is not among the hosts that may be asked"),
            ("http://pictures.example/", "pictures.example is not among the hosts"),
            ("file:///etc/passwd", "is no address to fetch"),
            ("//127.0.0.1:{port}/", "127.0.0.1:.* is not among the hosts"),
            ("/again", "redirects more than 3 times"),
        ],
    )
    def test_are_refused(self, pages: Pages, location: str, reason: str) -> None:
        pages.paths["/again"] = answering(302, b"", Location=location.format(port=pages.port))
        with pytest.raises(ImageError, match=reason):
            fetch(fetcher(pages, **{"private.test": ["10.0.0.1"]}), at(pages, "/again"))


@pytest.mark.parametrize(
    ("hosts", "url", "way"),
    [
        (("*",), "http://a.example:8080/", r"port 80; allow a\.example:8080, or \*:8080\."),
        (("*.example",), "https://a.example:80/", r"port 443; allow a\.example:80, or \*:80\."),
        (("*",), "http://[2001:db8::1]:8080/", r"allow \[2001:db8::1\]:8080, or"),
        (("b.example",), "http://a.example:8080/", r"may be asked: b\.example\.$"),
        (("a.example:90",), "http://a.example:8080/", r"may be asked: a\.example:90\.$"),
    ],
)
def test_a_port_that_is_missing_is_named(hosts: tuple[str, ...], url: str, way: str) -> None:
    refusing = Fetcher(hosts, 1, 1.0, resolve=lambda *_: [])
    with pytest.raises(ImageError, match=way):
        fetch(refusing, url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://pictures.example/", "is no address to fetch; expected https://host/path"),
        ("pictures.example/a.png", "is no address to fetch"),
        ("http:///a.png", "is no address to fetch"),
        ("", "is no address to fetch"),
        ("http://" + "a" * 3000, "is no address to fetch"),
        ("http://pictures.example\\@evil.org/", "is no address to fetch"),
        ("http://pictures.éxample/", "is no address to fetch"),
        ("http://user:secret@pictures.example/", "has a user or password in it"),
        ("http://evil.org/", "evil.org is not among the hosts"),
        ("http://pictures.example:99999/", "cannot be fetched .Port out of range"),
        ("http://[::1/", "cannot be fetched .Invalid IPv6 URL"),
        ("http://pictures.example:{port}/a b", "cannot be fetched .URL can't contain control characters"),
        ("http://pictures.example:{port}/a\r\nX-Evil: 1", "404|cannot be fetched"),
    ],
)
def test_addresses_that_are_none(pages: Pages, url: str, reason: str) -> None:
    pages.paths["/aX-Evil:%201"] = answering(404)
    with pytest.raises(ImageError, match=reason):
        fetch(fetcher(pages), url.format(port=pages.port))
    assert "evil.org" not in str(pages.hosts)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0"],
)
def test_this_machine_under_all_its_names(host: str) -> None:
    """With the resolver and the check that serve: whatever the system makes of the name, it is no public address."""
    try:
        resolved(host.strip("[]"), 80)
    except OSError:
        pytest.skip(f"this system takes {host} for no address")
    with pytest.raises(ImageError, match="no public address"):
        fetch(Fetcher(("*",), MOST, 30.0), f"http://{host}/")


@pytest.mark.parametrize(
    ("site", "reason"),
    [
        (answering(404), "answers with status 404; expected 200"),
        (answering(200, bytes(MOST + 1)), "more than 10,000 bytes"),
        (answering(200, b"", 10 * MOST), "more than 10,000 bytes"),
        (answering(200, b"abc", 9), "ended after 3 of 9 bytes|IncompleteRead"),
        (answering(200, b"abc", Content_Encoding="gzip"), "packs its answer"),
        (lambda handler: handler.wfile.write(b"no HTTP\r\n\r\n"), "cannot be fetched"),
        (lambda handler: None, "cannot be fetched"),
    ],
    ids=["404", "large", "declared large", "cut off", "packed", "no HTTP", "nothing"],
)
def test_answers_that_are_none(pages: Pages, site: Site, reason: str) -> None:
    pages.paths["/a.png"] = site
    with pytest.raises(ImageError, match=reason):
        fetch(fetcher(pages), at(pages))


def test_endless_body_is_left_when_it_is_too_large(pages: Pages) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            handler.wfile.write(bytes(1000))

    pages.paths["/a.png"] = endless
    with pytest.raises(ImageError, match="more than 10,000 bytes"):
        fetch(fetcher(pages), at(pages))


def test_an_answer_of_single_bytes_does_not_prolong_the_time(pages: Pages) -> None:
    pages.paths["/a.png"] = dripping
    with pytest.raises(ImageError, match=r"did not come within 0.2 s"):
        fetch(fetcher(pages, seconds=0.2), at(pages))


def test_nobody_there(pages: Pages) -> None:
    with reserved_port() as port:
        alone = Fetcher(
            (f"pictures.example:{port}",), MOST, 5.0, resolve=lambda *_: ["127.0.0.1"], may_connect=bool
        )
        with pytest.raises(ImageError, match=r"cannot be fetched .*refused"):
            fetch(alone, f"http://pictures.example:{port}/")


def test_unknown_host(pages: Pages) -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    alone = Fetcher(("*",), MOST, 5.0, resolve=unknown)
    with pytest.raises(ImageError, match=r"cannot be fetched .*Name or service not known"):
        fetch(alone, "http://nowhere.example/")


def test_a_client_that_leaves_ends_the_wait(pages: Pages) -> None:
    gone, asked = ClientGone(), threading.Event()

    def silent(handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        handler.rfile.read(1)

    pages.paths["/a.png"] = silent
    threading.Thread(target=lambda: (asked.wait(), gone.set()), daemon=True).start()
    with pytest.raises((ImageError, CancelledError)):
        fetch(fetcher(pages), at(pages), Caller(time.monotonic() + 60, gone))
    with pytest.raises(CancelledError, match="has left"):
        fetch(fetcher(pages), at(pages), Caller(time.monotonic() + 60, gone))


def test_memory_is_counted(pages: Pages) -> None:
    pages.paths["/a.png"] = answering(200, bytes(5000))
    with pytest.raises(InputError, match="takes more than the 0 MiB there are for all"):
        fetch(fetcher(pages), at(pages), size=1000)


def test_tls_is_checked_for_the_name(tmp_path: Path) -> None:
    cert, key = new_certificate(tmp_path, "DNS:pictures.example")
    names: list[str | None] = []
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(cert, key)
    serving.sni_callback = lambda connection, name, context: names.append(name)
    pages = Pages(serving)
    try:
        pages.paths["/a.png"] = answering()
        pages.paths["/down"] = answering(302, b"", Location=at(pages))
        trusting = ssl.create_default_context(cafile=str(cert))
        assert fetch(fetcher(pages, tls=trusting), at(pages, scheme="https")) == IMAGE
        assert names == ["pictures.example"]
        with pytest.raises(ImageError, match="redirects from https to http"):
            fetch(fetcher(pages, tls=trusting), at(pages, "/down", scheme="https"))
        with pytest.raises(ImageError, match=r"cannot be fetched .*CERTIFICATE_VERIFY_FAILED"):
            fetch(fetcher(pages, tls=trusting), at(pages, host="other.example", scheme="https"))
        with pytest.raises(ImageError, match=r"cannot be fetched .*CERTIFICATE_VERIFY_FAILED"):
            fetch(fetcher(pages), at(pages, scheme="https"))
    finally:
        pages.close()


class TestRequests:
    def ask(self, registry: Registry, *images: object) -> tuple[int, list[str]]:
        client: FlaskClient = create_app(registry=registry).test_client()
        response = client.post("/v1/classify", json={"images": list(images)})
        body = response.get_json()
        rows = body.get("results", [])
        return response.status_code, [
            row["predictions"][0]["label"] if "predictions" in row else row["error"]["message"]
            for row in rows
        ] or [body["error"]["message"]]

    def test_nothing_is_fetched_unless_it_is_allowed(self, registry: Registry, pages: Pages) -> None:
        status, (reason,) = self.ask(registry, {"url": at(pages)})
        assert (status, "this service fetches no images" in reason) == (400, True)
        assert pages.hosts == []

    def test_one_that_cannot_be_fetched_harms_no_other(self, registry: Registry, pages: Pages) -> None:
        pages.paths["/a.png"] = answering()
        pages.paths["/b.png"] = answering(404)
        registry.heed(dataclasses.replace(registry.config, allow_urls=("*",)))
        registry.bodies._fetcher = fetcher(pages)
        status, rows = self.ask(registry, {"url": at(pages, "/b.png")}, {"url": at(pages)})
        assert status == 200
        assert "images[0]: " in rows[0]
        assert rows[1] == "red"

    def test_no_setting_reaches_what_is_not_public(self, registry: Registry, pages: Pages) -> None:
        pages.paths["/a.png"] = answering()
        registry.heed(dataclasses.replace(registry.config, allow_urls=(f"127.0.0.1:{pages.port}", "*")))
        status, (reason,) = self.ask(registry, {"url": at(pages, host="127.0.0.1")})
        assert (status, "no public address" in reason) == (422, True)
        assert pages.hosts == []


def test_the_hook_of_these_tests_is_no_setting() -> None:
    assert not {"resolve", "may_connect", "fetcher"} & set(vars(ServiceConfig()))
    check: Callable[[Address], bool] = Fetcher(("*",), 1, 1.0)._may_connect
    assert not check(ipaddress.ip_address("127.0.0.1"))
