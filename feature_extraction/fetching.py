"""Images that a request or a list names by their address in the network, where somebody allowed it.

An address is checked when its host has been resolved, and the connection goes to that address: a name that points
elsewhere a moment later gains nothing.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.message import Message
from typing import Any, Protocol
from urllib.parse import SplitResult, urljoin, urlsplit

from feature_extraction.addresses import Address, allows, is_public
from models.errors import ImageError

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = 3
_REDIRECTING = (301, 302, 303, 307, 308)
_STEP = 1 << 16
_MOST_URL = 2048  # characters
Resolve = Callable[[str, int], list[str]]  # addresses of a host, for a port


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system knows them.

    Raises:
        OSError: there are none.
    """
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Watch(Protocol):
    """Who waits for what is fetched: how long, and whether still."""

    @property
    def deadline(self) -> float:
        """Until when, by the monotonic clock."""

    def check(self) -> None:
        """Raise where nobody waits any more."""

    def take(self, count: int) -> None:
        """Count bytes that have come, and raise where there is no room for them."""

    def opened(self, shut: Callable[[], None]) -> None:
        """A connection stands; `shut` gives it up, from any thread."""


class Patience:
    """Somebody who waits as long as it takes, and has room for all of it."""

    deadline = float("inf")

    def check(self) -> None:
        """Always there."""

    def take(self, count: int) -> None:
        """Always room."""

    def opened(self, shut: Callable[[], None]) -> None:
        """Never given up."""


@dataclass(frozen=True)
class Question:
    """A request to a host; an answer with a status that is not `expected` is an error."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    expected: Container[int] = (200,)


@dataclass(frozen=True)
class Answer:
    """What a host answers to it."""

    status: int
    headers: Message
    content: bytes


class Fetcher:
    """Fetches images from hosts that are allowed, within bounds. Safe to use from all threads."""

    def __init__(
        self,
        hosts: Sequence[str],
        most_bytes: int,
        seconds: float,
        *,
        resolve: Resolve = resolved,
        may_connect: Callable[[Address], bool] = is_public,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`hosts`: as `addresses.allows` has them. The rest is how tests take the place of the network."""
        self._hosts, self._most, self._seconds = hosts, most_bytes, seconds
        self._resolve, self._may_connect, self._tls = resolve, may_connect, tls

    def fetch(self, url: str, name: str, watch: Watch) -> bytes:
        """The bytes at an address; redirects are followed, each checked like the first.

        Raises:
            ImageError: not allowed, not there, too large or too slow; `name` says which image it is.
            Exception: whatever `watch` raises.
        """
        return self.ask(Question(url, headers={"Accept": "image/*"}), name, watch).content

    def ask(self, question: Question, name: str, watch: Watch) -> Answer:
        """As `fetch`, with any request, and with the whole answer.

        Raises:
            ImageError: also where the answer has a status that the question does not expect.
            Exception: whatever `watch` raises.
        """
        url, end = question.url, min(watch.deadline, time.monotonic() + self._seconds)
        try:
            for _ in range(_REDIRECTS + 1):
                watch.check()
                place = self._checked(url)
                # Credentials are for the host that was asked.
                if place.netloc != urlsplit(question.url).netloc:
                    question = replace(question, headers=_without_credentials(question.headers))
                answer = self._ask(place, question, end, watch)
                if isinstance(answer, Answer):
                    return answer
                url = urljoin(url, answer)
                if place.scheme == "https" and urlsplit(url).scheme == "http":
                    raise ImageError("it redirects from https to http; expected https to the end.")
            raise ImageError(f"it redirects more than {_REDIRECTS} times.")
        except ImageError as exc:
            raise ImageError(f"{name}: {exc}") from exc
        except TimeoutError as exc:
            raise ImageError(f"{name}: it did not come within {self._seconds:g} s.") from exc
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise ImageError(f"{name}: cannot be fetched ({exc}).") from exc

    def _checked(self, url: str) -> SplitResult:
        """An address in its parts, with a host that may be asked.

        Raises:
            ImageError: it is none, or its host is not on the list.
        """
        place = urlsplit(url[: _MOST_URL + 1])
        host, usual = place.hostname or "", _PORTS.get(place.scheme)
        # http.client refuses control characters; what stands for a name here must stand for it there, too.
        if usual is None or not host or len(url) > _MOST_URL or not url.isascii() or "\\" in url:
            raise ImageError(f"{url[:80]!r} is no address to fetch; expected https://host/path, in ASCII.")
        if place.username is not None or place.password is not None:
            raise ImageError("the address has a user or password in it, which are not sent anywhere.")
        if not allows(self._hosts, host, place.port or usual, usual):
            raise ImageError(
                f"{place.netloc[:80]} is not among the hosts that may be asked: {', '.join(self._hosts)[:200]}."
                + self._how_to_allow(host, place.port, usual)
            )
        return place

    def _how_to_allow(self, host: str, port: int | None, usual: int) -> str:
        """What lets a port be asked, where it is the port alone that the list lacks."""
        if not allows(self._hosts, host, usual, usual):
            return ""
        name = f"[{host}]" if ":" in host else host
        return f" A host without a port stands for port {usual}; allow {name}:{port}, or *:{port}."

    def _ask(self, place: SplitResult, question: Question, end: float, watch: Watch) -> Answer | str:
        """What a host answers, or where it redirects to."""
        connection = self._connected(place, end)
        try:
            watch.opened(connection.shut)
            target = (place.path or "/") + (f"?{place.query}" if place.query else "")
            headers = {"User-Agent": "graft", **question.headers}
            connection.request(question.method, target, question.body, headers)
            response = connection.getresponse()
            if response.status in _REDIRECTING and (location := response.getheader("Location")):
                return location
            if response.status not in question.expected:
                raise ImageError(f"{place.netloc} answers with status {response.status}; expected 200.")
            if (coding := response.getheader("Content-Encoding", "identity")) != "identity":
                raise ImageError(
                    f"{place.netloc} packs its answer ({coding[:40]}) though it was not asked to."
                )
            return Answer(response.status, response.headers, self._content(response, watch))
        finally:
            connection.finish()

    def _content(self, response: http.client.HTTPResponse, watch: Watch) -> bytes:
        content = io.BytesIO()
        declared = response.length or 0
        while True:
            if max(declared, content.tell()) > self._most:
                raise ImageError(f"it has more than {self._most:,} bytes, which is as many as are fetched.")
            watch.check()
            piece = response.read1(_STEP)
            if not piece:
                break
            watch.take(len(piece))
            content.write(piece)
        if declared > content.tell():
            raise ImageError(f"it ended after {content.tell():,} of {declared:,} bytes.")
        return content.getvalue()

    def _connected(self, place: SplitResult, end: float) -> _Connection:
        """A connection to the host, at an address that was checked.

        Raises:
            ImageError: the host has an address that is not public.
            OSError: it has none, or nobody is there.
        """
        host = place.hostname or ""
        port = place.port or _PORTS[place.scheme]
        addresses = list(dict.fromkeys(self._resolve(host, port)))
        for text in addresses:
            if not self._may_connect(ipaddress.ip_address(text.partition("%")[0])):
                raise ImageError(
                    f"{host} is at {text}, which is no public address; nothing is fetched from others."
                )
        tls = (self._tls or ssl.create_default_context()) if place.scheme == "https" else None
        return _Connection(host, port, addresses, end, tls)


class _Connection(http.client.HTTPConnection):
    """A connection to one of some addresses in place of what its host may resolve to by then."""

    def __init__(
        self, host: str, port: int, addresses: Sequence[str], end: float, tls: ssl.SSLContext | None
    ) -> None:
        self.default_port = _PORTS["https" if tls else "http"]  # what the header Host does without
        super().__init__(host, port)
        self._addresses, self._end, self._tls = addresses, end, tls
        self._socket: socket.socket | None = None

    def connect(self) -> None:
        """Connect to the first address that answers."""
        errors: list[OSError] = []
        for address in self._addresses:
            try:
                plain = socket.create_connection((address, self.port), _left(self._end))
            except OSError as exc:
                errors.append(exc)
                continue
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = plain
            if self._tls is not None:
                plain.settimeout(_left(self._end))
                try:
                    self._socket = self._tls.wrap_socket(plain, server_hostname=self.host)
                except BaseException:
                    plain.close()
                    raise
            self.sock: Any = _Timed(self._socket, self._end)
            return
        raise errors[-1] if errors else OSError("its host has no address")

    def finish(self) -> None:
        """Close the socket."""
        self.close()
        if self._socket is not None:
            self._socket.close()

    def shut(self) -> None:
        """Wake whoever waits for bytes, and give up. From any thread."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # closed by now
                self._socket.shutdown(socket.SHUT_RDWR)


class _Timed:
    """A socket as http.client uses it, whose time ends: an answer of single bytes does not prolong it."""

    def __init__(self, connected: socket.socket, end: float) -> None:
        self._socket, self._end = connected, end

    def sendall(self, data: Any) -> None:
        """Send all of it, in time."""
        self._socket.settimeout(_left(self._end))
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What comes back, to be read in time."""
        return io.BufferedReader(_Reading(self._socket, self._end))

    def close(self) -> None:
        """http.client closes what it still reads from; `_Connection.finish` is the end."""


class _Reading(io.RawIOBase):
    """What a socket receives."""

    def __init__(self, connected: socket.socket, end: float) -> None:
        self._socket, self._end = connected, end

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Bytes that have come, in time."""
        self._socket.settimeout(_left(self._end))
        return self._socket.recv_into(buffer)


def _without_credentials(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() != "authorization"}


def _left(end: float) -> float:
    """Seconds until a moment of the monotonic clock.

    Raises:
        TimeoutError: it is over.
    """
    seconds = end - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the time is over")
    return seconds
